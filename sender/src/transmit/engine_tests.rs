//! The engine on a port in memory: what leaves, when, out of which frame.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use super::{memory_port::MemoryPort, *};
use crate::{
    media::{Loop, Ticks},
    packet::{Destination, HeaderTemplate, RTP_OFFSET, Stream},
    srtp::{MasterKey, PacketIndex},
};

const SSRC: u32 = 0x1234_5678;
const START: Time = Time::from_nanos(1_000_000_000);
const IPV4_UDP_HEADERS: usize = 42;

fn media() -> Arc<Loop> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/media/sample.ts");
    Arc::new(Loop::open(&path).expect("the sample is part of the repository"))
}

fn stream() -> Arc<Stream> {
    let key = MasterKey::new([7; 16], [9; 14]);
    Arc::new(Stream::new(media(), SSRC, PacketIndex::new(65_000), 4_000_000_000, Some((&key, None))))
}

fn template(port: u16) -> HeaderTemplate {
    let source = "10.0.0.1:5004".parse().unwrap();
    let group = format!("239.192.0.1:{port}").parse().unwrap();
    HeaderTemplate::new(&Destination::multicast([2, 0, 0, 0, 0, 1], &[], source, group, 8, 0).unwrap())
}

fn limits(scratch_frames: u32) -> Limits {
    Limits { streams: 4, cursors: 64, scratch_frames, burst: 64, max_lateness: 1_000_000_000 }
}

fn reports(channel: u8) -> Reports {
    Reports {
        template: template(6000 + u16::from(channel)),
        interval: Duration::from_secs(5),
        cname: "sender@test".into(),
        indices: RtcpIndices::of_channel(channel.into(), 256),
    }
}

/// What left: time, UDP destination port, RTP packet.
struct Departure {
    at: Time,
    port: u16,
    packet: Vec<u8>,
}

struct Rig {
    engine: Engine<MemoryPort>,
    stream: Arc<Stream>,
    now: Time,
}

impl Rig {
    /// An engine with `resident` of the stream's packets resident, and a ring of `ring` descriptors.
    fn new(resident: u32, scratch: u32, ring: usize) -> Self {
        let stream = stream();
        let mut port = MemoryPort::new((resident + scratch) as usize, ring);
        port.record(true);
        let mut engine = Engine::new(port, limits(scratch), START, 42);
        let extent = FrameBudget::new(engine.resident_frames()).take(resident);
        engine.put_stream(0, Some(Box::new(StreamSlot::new(stream.clone(), extent, Owner(1)))));
        Self { engine, stream, now: START }
    }

    fn start(&mut self, number: u32, start: Time, reports: Option<Reports>) {
        let cursor = Cursor::new(0, &self.stream, start, template(5000 + number as u16), reports);
        assert!(self.engine.start(number, Box::new(cursor), self.now).is_ok());
    }

    /// Turns the engine until `until`, waking when it asks to (not before 10 µs, and at least every 10 ms).
    fn run(&mut self, until: Time) -> Vec<Departure> {
        let mut departures = Vec::new();
        while self.now < until {
            let next = self.engine.turn(self.now);
            let sent = self.engine.port_mut().take_sent();
            departures.extend(sent.into_iter().map(|frame| Departure {
                at: self.now,
                port: u16::from_be_bytes([frame[36], frame[37]]),
                packet: frame[IPV4_UDP_HEADERS..].to_vec(),
            }));
            let soon = self.now.plus_nanos(10_000);
            self.now = next.unwrap_or(until).max(soon).min(self.now.plus_nanos(10_000_000)).min(until);
        }
        departures
    }

    fn counters(&self) -> Counters {
        *self.engine.counters()
    }
}

fn pass() -> Duration {
    Duration::from_nanos(media().duration().to_nanos())
}

fn by_port(departures: Vec<Departure>) -> BTreeMap<u16, Vec<Departure>> {
    let mut map: BTreeMap<u16, Vec<Departure>> = BTreeMap::new();
    departures.into_iter().for_each(|departure| map.entry(departure.port).or_default().push(departure));
    map
}

fn expected(stream: &Stream, count: usize) -> Vec<Vec<u8>> {
    let mut index = stream.first_index();
    (0..count)
        .map(|_| {
            let mut packet = vec![0; stream.max_len()];
            let len = stream.write(index, stream.locate(index).expect("not before the first"), &mut packet);
            packet.truncate(len);
            index = index.next().expect("far from the end");
            packet
        })
        .collect()
}

#[test]
fn four_staggered_copies_send_the_same_bytes_each_its_stagger_later() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 256);
    let stagger = pass() / 4;
    (0..4).for_each(|copy| rig.start(copy, START + stagger * copy, None));
    let copies = by_port(rig.run(START + pass() * 3));

    let want = expected(&rig.stream, copies[&5000].len());
    assert!(want.len() > 2 * frames as usize);
    for (copy, departures) in copies.values().enumerate() {
        assert!(departures.iter().zip(&want).all(|(departure, want)| departure.packet == *want), "copy {copy}");
        for (departure, leading) in departures.iter().zip(&copies[&5000]) {
            let offset = departure.at.since(leading.at) as i64 - nanos(stagger * copy as u32) as i64;
            assert!(offset.abs() < 100_000, "copy {copy} is {offset} ns off its plan");
        }
    }
}

#[test]
fn with_all_copies_running_one_packet_is_encrypted_for_every_four_sent() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 256);
    (0..4).for_each(|copy| rig.start(copy, START + pass() / 4 * copy, None));
    rig.run(START + pass());
    let before = rig.counters();
    rig.run(START + pass() * 3);
    let (sent, encrypted) = (rig.counters().sent - before.sent, rig.counters().encrypted - before.encrypted);
    assert!(sent.abs_diff(encrypted * 4) <= 8, "{encrypted} encrypted, {sent} sent");
    assert_eq!(rig.counters().scratch_busy + rig.counters().scratch_newer + rig.counters().scratch_beyond, 0);
}

#[test]
fn a_title_larger_than_its_frames_sends_the_same_bytes_out_of_scratch_frames() {
    let mut rig = Rig::new(100, 64, 32);
    (0..3).for_each(|copy| rig.start(copy, START + pass() / 3 * copy, None));
    let copies = by_port(rig.run(START + pass() * 2));
    for departures in copies.values() {
        let want = expected(&rig.stream, departures.len());
        assert!(departures.iter().map(|departure| &departure.packet).eq(want.iter()));
    }
    assert!(rig.counters().scratch_beyond > 0);
}

#[test]
fn a_frame_in_flight_is_never_touched_and_its_packet_is_made_again_elsewhere() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 64);
    rig.engine.port_mut().hold(true);
    rig.start(0, START, None);
    rig.start(1, START, None);
    let copies = by_port(rig.run(START + Duration::from_millis(100)));
    assert!(copies[&5001].len() > 3);
    assert!(copies[&5000].iter().zip(&copies[&5001]).all(|(one, other)| one.packet == other.packet));
    assert_eq!(rig.counters().scratch_busy, copies[&5001].len() as u64);

    let in_flight: Vec<Desc> = rig.engine.port_mut().in_flight().collect();
    let mut frames: Vec<u64> = in_flight.iter().map(|desc| desc.frame()).collect();
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len(), in_flight.len(), "a frame is in flight twice");
}

#[test]
fn a_full_ring_delays_packets_and_loses_none() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 4);
    rig.engine.port_mut().hold(true);
    rig.start(0, START, None);
    let mut departures = rig.run(START + Duration::from_millis(300));
    assert_eq!(departures.len(), 4);
    assert!(rig.counters().ring_full > 0);
    rig.engine.port_mut().hold(false);
    rig.engine.port_mut().complete(4);
    departures.extend(rig.run(START + Duration::from_secs(1)));
    let want = expected(&rig.stream, departures.len());
    assert!(departures.iter().map(|departure| &departure.packet).eq(want.iter()));
    assert_eq!(rig.counters().skipped, 0);
}

#[test]
fn what_is_too_late_is_skipped_counted_and_leaves_the_rest_in_time() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 64);
    rig.start(0, START, None);
    rig.now = START + Duration::from_secs(4);
    let departures = rig.run(START + Duration::from_secs(5));
    let skipped = rig.counters().skipped;
    assert!(skipped > 0);
    let want = expected(&rig.stream, skipped as usize + departures.len());
    assert!(departures.iter().map(|departure| &departure.packet).eq(want[skipped as usize..].iter()));
}

#[test]
fn without_a_free_scratch_frame_a_packet_waits_and_is_counted() {
    let mut rig = Rig::new(0, 2, 64);
    rig.engine.port_mut().hold(true);
    rig.start(0, START, None);
    assert_eq!(rig.run(START + Duration::from_millis(200)).len(), 2);
    assert!(rig.counters().no_frame > 0);
    rig.engine.port_mut().hold(false);
    rig.engine.port_mut().complete(2);
    assert!(!rig.run(START + Duration::from_millis(300)).is_empty());
}

#[test]
fn a_ring_that_stands_still_is_rebuilt_and_sending_goes_on() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 8);
    rig.engine.port_mut().hold(true);
    rig.start(0, START, None);
    rig.run(START + Duration::from_secs(3));
    assert_eq!(rig.counters().rebuilds, 1);
    assert!(rig.counters().stalls > 0);
    rig.engine.port_mut().hold(false);
    rig.engine.port_mut().complete(8);
    assert!(rig.run(START + Duration::from_secs(4)).len() > 8);
}

#[test]
fn a_rebuild_that_fails_is_tried_until_it_works() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 8);
    rig.engine.port_mut().hold(true);
    rig.engine.port_mut().refuse_rebuilds(true);
    rig.start(0, START, None);
    rig.run(START + Duration::from_secs(9));
    assert!(rig.counters().rebuilds_failed >= 3, "{}", rig.counters().rebuilds_failed);
    rig.engine.port_mut().hold(false);
    rig.engine.port_mut().refuse_rebuilds(false);
    assert!(rig.run(START + Duration::from_secs(12)).len() > 8);
    assert_eq!(rig.counters().rebuilds, 1);
}

#[test]
fn sender_reports_of_the_copies_tell_their_own_time_under_indices_of_their_own() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 256);
    let stagger = pass() / 2;
    (0..2).for_each(|copy| rig.start(copy, START + stagger * copy, Some(reports(copy as u8))));
    let all = by_port(rig.run(START + pass() * 2));
    let mut indices = Vec::new();
    for copy in 0..2u16 {
        let srs = &all[&(6000 + copy)];
        assert!((2..12).contains(&srs.len()), "{} reports in two passes", srs.len());
        for sr in srs {
            let mut packet = sr.packet.clone();
            let (len, index) = rig.stream.rtcp().expect("the stream has a key").unprotect(&mut packet).unwrap();
            assert_eq!((packet[0] >> 6, packet[1], len % 4), (2, 200, 0));
            let timestamp = u32::from_be_bytes(packet[16..20].try_into().unwrap());
            let elapsed = sr.at.since(START + stagger * u32::from(copy));
            let want = rig.stream.timestamp(Ticks(elapsed / 1000 * 27));
            assert!(timestamp.wrapping_sub(want).wrapping_add(9) < 18, "copy {copy}: {timestamp} is not {want}");
            indices.push(index);
        }
    }
    let count = indices.len();
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices.len(), count, "an SRTCP index was used twice");
}

#[test]
fn a_stopped_copy_says_bye_and_sends_no_more() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 64);
    rig.start(0, START, Some(reports(0)));
    rig.run(START + Duration::from_millis(500));
    let cursor = rig.engine.stop(0, rig.now).expect("it runs");
    let figures = cursor.figures();
    assert!(figures.packets > 0 && figures.reports == 2);
    let rest = rig.run(START + Duration::from_secs(1));
    assert_eq!(rest.len(), 1);
    let mut packet = rest[0].packet.clone();
    let (len, _) = rig.stream.rtcp().unwrap().unprotect(&mut packet).unwrap();
    assert_eq!(packet[len - 8 + 1], 203, "the compound ends with a BYE");
    assert_eq!(rig.engine.turn(rig.now), None);
    assert!(rig.engine.stop(0, rig.now).is_none());
}

#[test]
fn a_number_that_is_taken_or_a_stream_that_is_missing_is_refused() {
    let frames = media().packets_per_pass() as u32;
    let mut rig = Rig::new(frames, 64, 64);
    rig.start(0, START, None);
    let cursor = |slot| Box::new(Cursor::new(slot, &stream(), START, template(5000), None));
    assert!(rig.engine.start(0, cursor(0), START).is_err());
    assert!(rig.engine.start(1, cursor(3), START).is_err());
    assert!(rig.engine.start(64, cursor(0), START).is_err());
    assert!(rig.engine.in_use(0) && !rig.engine.in_use(1));
}

#[test]
fn a_frame_made_elsewhere_is_sent_as_it_is() {
    let mut rig = Rig::new(0, 4, 8);
    rig.engine.send_frame(&[0xab; 60]);
    rig.engine.send_frame(&[0xab; FRAME_SIZE + 1]);
    rig.engine.turn(START);
    assert_eq!(rig.engine.port_mut().take_sent(), [vec![0xab; 60]]);
    assert_eq!((rig.counters().frames, rig.counters().oversized), (1, 1));
}

#[test]
fn headers_end_where_packets_begin() {
    let mut rig = Rig::new(8, 4, 8);
    rig.engine.port_mut().hold(true);
    rig.start(0, START, None);
    rig.run(START + Duration::from_millis(50));
    let first = rig.engine.port_mut().in_flight().next().expect("something was sent");
    assert_eq!(first.addr as usize % FRAME_SIZE, RTP_OFFSET - IPV4_UDP_HEADERS);
}
