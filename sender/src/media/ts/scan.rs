//! One go over a file: everything a loop needs to know of it, or why it cannot be looped.

use super::frames::LastUnit;
use super::packet::{NULL_PID, PACKET_LEN, SYNC, TsPacket, has_pes_header, stamp};
use super::psi;
use super::restamp::PidTable;
use super::timeline::{Anchor, Timeline, ticks};
use super::timing::{ClockTrack, StampTrack};
use crate::media::Reason;

/// What one pass is.
pub(in crate::media) struct Pass {
    /// Transport packets in it.
    pub(in crate::media) packets: u64,
    /// Ticks of 27 MHz from one pass to the next: a multiple of 300.
    pub(in crate::media) duration: u64,
    pub(in crate::media) timeline: Timeline,
    pub(in crate::media) pids: PidTable,
}

/// Goes over a whole file.
pub(in crate::media) fn scan(bytes: &[u8]) -> Result<Pass, Reason> {
    check_framing(bytes)?;
    let (packets, _) = bytes.as_chunks::<PACKET_LEN>();
    let programme = find_programme(packets)?;
    let mut clock = ClockTrack::default();
    let mut streams = Streams::new();
    for (number, packet) in (0u64..).zip(packets) {
        let (packet, offset) = (TsPacket(packet), number * PACKET_LEN as u64);
        check_packet(packet, offset)?;
        let pid = packet.pid();
        if pid == NULL_PID {
            continue;
        }
        if pid == programme.pmt {
            programme.check_clock_stays(packet, offset)?;
        }
        if pid == programme.pcr {
            packet.pcr().map_or(Ok(()), |pcr| clock.pcr(pcr, number, offset))?;
        }
        streams.packet(packet, number, offset)?;
    }
    match clock.anchors.len() {
        0 => return Err(Reason::NoPcr { pmt: programme.pmt }),
        1 => return Err(Reason::OnePcr { pid: programme.pcr }),
        _ => {}
    }
    let span = streams.longest(packets) * 300;
    let (timeline, duration) = close(clock, span, packets.len() as u64);
    Ok(Pass { packets: packets.len() as u64, duration, timeline, pids: streams.pid_table() })
}

/// Chooses the length of a pass, and gives the packets before the first and after the last PCR their time.
///
/// The length is that of the longest elementary stream (`span`), so that its spacing goes on over the loop point; or that of
/// the PCRs, with the packets outside them at the first and the last rate, if that is longer. But multiplexers like to end
/// with a little stuffing: if it is only that, the packets outside the PCRs are sent up to twice as fast, rather than that
/// every stream gets a gap at each loop point.
fn close(clock: ClockTrack, span: u64, packets: u64) -> (Timeline, u64) {
    let [first, second, .., before, last] =
        [&clock.anchors[..2], &clock.anchors[clock.anchors.len() - 2..]].concat()[..]
    else {
        unreachable!("two and two anchors")
    };
    let mut lead = ticks(first, second, first.packet);
    let mut tail = ticks(before, last, packets - last.packet);
    let by_clock = lead + last.time + tail;
    let room = span.saturating_sub(last.time);
    let squeeze = span < by_clock && span > clock.time && room >= (lead + tail) / 2;
    let duration = if squeeze {
        lead = (u128::from(lead) * u128::from(room) / u128::from(lead + tail)) as u64;
        tail = room - lead;
        span
    } else {
        by_clock.max(span).next_multiple_of(300)
    };
    let head = (first.packet > 0).then_some(Anchor { packet: 0, time: 0 });
    let pcrs = clock.anchors.into_iter().map(|anchor| Anchor { time: lead + anchor.time, ..anchor });
    let end = Anchor { packet: packets, time: lead + last.time + tail };
    (Timeline::new(head.into_iter().chain(pcrs).chain([end]).collect()), duration)
}

/// Tells transport streams from other files, and from those with longer packets.
fn check_framing(bytes: &[u8]) -> Result<(), Reason> {
    if bytes.is_empty() {
        return Err(Reason::Empty);
    }
    // Most of the first packets have to begin with the sync byte; a single one that does not is for the scan to find.
    let fits = |first: usize, len: usize| {
        let starts = || bytes.get(first..).unwrap_or(&[]).iter().step_by(len).take(16);
        let synced = starts().filter(|&&byte| byte == SYNC).count();
        synced > 0 && synced * 4 >= starts().count() * 3
    };
    let kinds = [(0, 188, None), (4, 192, Some(Reason::M2ts)), (0, 204, Some(Reason::Packets204))];
    match kinds.into_iter().find(|&(first, len, _)| fits(first, len)) {
        None => return Err(Reason::NotTs),
        Some((_, _, Some(reason))) => return Err(reason),
        Some((_, _, None)) => {}
    }
    let have = bytes.len() % PACKET_LEN;
    if have != 0 {
        return Err(Reason::Truncated { offset: (bytes.len() - have) as u64, have: have as u64 });
    }
    Ok(())
}

fn check_packet(packet: TsPacket<'_>, offset: u64) -> Result<(), Reason> {
    if !packet.synced() {
        return Err(Reason::NoSync { offset });
    }
    if packet.error_indicator() {
        return Err(Reason::Damaged { offset, what: "its transport error indicator is set" });
    }
    if packet.pid() != NULL_PID && packet.scrambled() {
        return Err(Reason::Scrambled { offset, pid: packet.pid() });
    }
    if !packet.adaptation_fits() {
        return Err(Reason::Damaged { offset, what: "its adaptation field is longer than the packet" });
    }
    Ok(())
}

/// The first programme of the PAT, and where its clock is.
struct Programme {
    pmt: u16,
    pcr: u16,
}

impl Programme {
    fn check_clock_stays(&self, packet: TsPacket<'_>, offset: u64) -> Result<(), Reason> {
        match psi::pcr_pid(packet) {
            Some(pid) if pid != self.pcr => Err(Reason::PcrPidChanges { offset, pid }),
            _ => Ok(()),
        }
    }
}

fn find_programme(packets: &[[u8; PACKET_LEN]]) -> Result<Programme, Reason> {
    let on = |pid: u16| packets.iter().map(TsPacket).filter(move |packet| packet.synced() && packet.pid() == pid);
    let pmt = on(0)
        .find_map(psi::first_pmt_pid)
        .ok_or(Reason::NoProgramme { what: "a programme association table (PAT)" })?;
    let pcr = on(pmt).find_map(psi::pcr_pid).ok_or(Reason::NoProgramme { what: "its programme map table (PMT)" })?;
    if pcr == NULL_PID { Err(Reason::NoPcr { pmt }) } else { Ok(Programme { pmt, pcr }) }
}

/// What is learnt of one PID.
struct Stream {
    pid: u16,
    /// Continuity counters of the first and the last packet with payload.
    counters: Option<(u8, u8)>,
    /// `None` until the first unit begins.
    carries_pes: Option<bool>,
    stream_id: u8,
    stamps: StampTrack,
    last_unit: u64,
    unit_bytes: u64,
    bytes_before: u64,
}

impl Stream {
    fn new(pid: u16) -> Stream {
        Stream {
            pid,
            counters: None,
            carries_pes: None,
            stream_id: 0,
            stamps: StampTrack::default(),
            last_unit: 0,
            unit_bytes: 0,
            bytes_before: 0,
        }
    }

    fn packet(&mut self, packet: TsPacket<'_>, number: u64, offset: u64) -> Result<(), Reason> {
        if !packet.has_payload() {
            return Ok(());
        }
        let counter = packet.continuity();
        self.counters = Some((self.counters.map_or(counter, |(first, _)| first), counter));
        let payload = packet.payload();
        self.unit_bytes += payload.len() as u64;
        if packet.unit_start() {
            self.unit(packet, payload, number, offset)?;
        }
        Ok(())
    }

    fn unit(&mut self, packet: TsPacket<'_>, payload: &[u8], number: u64, offset: u64) -> Result<(), Reason> {
        let begins_pes = payload.starts_with(&[0, 0, 1]);
        let carries_pes = *self.carries_pes.get_or_insert(begins_pes);
        if !carries_pes || (!begins_pes && payload.len() >= 3) {
            return Ok(());
        }
        let split = Reason::SplitPes { offset };
        let &[_, _, _, stream_id, _, _, _, flags, header_len, ..] = payload else { return Err(split) };
        if !has_pes_header(stream_id) {
            return Ok(());
        }
        let needed = [9, 9, 14, 19][usize::from(flags >> 6)];
        if payload.len() < needed {
            return Err(split);
        }
        let stamps = packet.stamps();
        let Some(range) = stamps.dts.or(stamps.pts) else { return Ok(()) };
        let field = packet.0[range].first_chunk().expect("stamps() gives five bytes");
        self.stamps.dts(stamp(field));
        let header = (9 + u64::from(header_len)).min(payload.len() as u64);
        self.bytes_before += self.unit_bytes - payload.len() as u64;
        self.unit_bytes = payload.len() as u64 - header;
        self.stream_id = stream_id;
        self.last_unit = number;
        Ok(())
    }

    /// From the first DTS to where the next pass may have it again, in ticks of 90 kHz.
    fn span(&self, packets: &[[u8; PACKET_LEN]]) -> u64 {
        if !self.stamps.seen() {
            return 0;
        }
        let last = LastUnit {
            pid: self.pid,
            stream_id: self.stream_id,
            packet: self.last_unit,
            bytes: self.unit_bytes,
            bytes_before: self.bytes_before,
            span: self.stamps.span(),
            step: self.stamps.step,
        };
        self.stamps.span() + last.duration(packets)
    }
}

/// All PIDs but that of null packets.
struct Streams {
    slots: Box<[u16; 0x2000]>,
    streams: Vec<Stream>,
}

const NO_SLOT: u16 = u16::MAX;

impl Streams {
    fn new() -> Streams {
        Streams { slots: Box::new([NO_SLOT; 0x2000]), streams: Vec::new() }
    }

    fn packet(&mut self, packet: TsPacket<'_>, number: u64, offset: u64) -> Result<(), Reason> {
        let slot = &mut self.slots[usize::from(packet.pid())];
        if *slot == NO_SLOT {
            *slot = self.streams.len() as u16;
            self.streams.push(Stream::new(packet.pid()));
        }
        self.streams[usize::from(*slot)].packet(packet, number, offset)
    }

    fn longest(&self, packets: &[[u8; PACKET_LEN]]) -> u64 {
        self.streams.iter().map(|stream| stream.span(packets)).max().unwrap_or(0)
    }

    fn pid_table(&self) -> PidTable {
        let mut table = PidTable::new();
        for stream in &self.streams {
            let step = stream.counters.map_or(0, |(first, last)| last.wrapping_sub(first).wrapping_add(1));
            table.set(stream.pid, step, stream.carries_pes == Some(true));
        }
        table
    }
}
