//! The engine of one NIC queue: what is due, out of which frame, to whom. Sans-IO: time comes in, descriptors go out.

use super::{
    counters::Counters,
    cursor::{Cursor, StreamSlot},
    pacing::Pacing,
    port::{Desc, FRAME_SIZE, Port},
    store::{FrameStore, Lookup},
    time::Time,
    watchdog::{Remedy, Watchdog},
    wheel::Wheel,
};
use crate::{
    packet::{RTP_OFFSET, ones_complement_sum},
    xsk::prefetch,
};

/// Completions taken at once.
const REAP: usize = 64;
/// How far ahead of a cursor its frames are fetched into the cache while few cursors run.
const LOOK_AHEAD: u64 = 8;
/// With more cursors than this, a batch overlaps enough memory accesses by itself.
const FEW_CURSORS: usize = 32;

/// Fixed sizes and limits of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Streams at the same time.
    pub streams: u32,
    /// Copies at the same time.
    pub cursors: u32,
    /// Scratch frames out of the port's memory.
    pub scratch_frames: u32,
    /// Packets that are published and kicked at once, at least 1.
    pub burst: usize,
    /// A packet later than this is skipped, in nanoseconds: receivers have given it up, sending it would only delay the next.
    pub max_lateness: u64,
}

/// The transmit engine over one port.
pub struct Engine<P> {
    port: P,
    streams: Box<[Option<Box<StreamSlot>>]>,
    cursors: Box<[Option<Box<Cursor>>]>,
    running: usize,
    /// Silenced: about to end.
    silent: bool,
    /// The last packet wasn't resident: the next one probably isn't either.
    making: bool,
    wheel: Wheel,
    store: FrameStore,
    watchdog: Watchdog,
    /// The last rebuild failed: there is no socket until one works.
    broken: bool,
    batch: Box<[u32]>,
    counters: Counters,
    pacing: Pacing,
    max_lateness: u64,
    /// The wall clock minus the engine's clock, in NTP units (2⁻³² s since 1900).
    ntp_offset: u64,
    random: u64,
}

/// What waits in the wheel: cursor `c`'s next packet is key `2c`, its next sender report `2c + 1`.
const fn media_key(cursor: u32) -> u32 {
    cursor * 2
}

const fn report_key(cursor: u32) -> u32 {
    cursor * 2 + 1
}

impl<P: Port> Engine<P> {
    /// An idle engine. `seed` spreads the sender reports in time.
    pub fn new(mut port: P, limits: Limits, now: Time, seed: u64) -> Self {
        let frames = (port.memory().len() / FRAME_SIZE) as u32;
        Self {
            port,
            streams: (0..limits.streams).map(|_| None).collect(),
            cursors: (0..limits.cursors).map(|_| None).collect(),
            running: 0,
            silent: false,
            making: false,
            wheel: Wheel::new(limits.cursors as usize * 2, now),
            store: FrameStore::new(frames, limits.scratch_frames),
            watchdog: Watchdog::new(now),
            broken: false,
            batch: vec![0; limits.burst.max(1)].into_boxed_slice(),
            counters: Counters::default(),
            pacing: Pacing::default(),
            max_lateness: limits.max_lateness,
            ntp_offset: 0,
            random: seed | 1,
        }
    }

    /// Frames that [`FrameBudget`](super::FrameBudget) can hand out as extents.
    pub fn resident_frames(&self) -> u32 {
        self.store.resident_frames()
    }

    /// The port below.
    pub fn port(&self) -> &P {
        &self.port
    }

    /// The port below, for what only its owner may do.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The figures so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How late packets left.
    pub fn pacing(&self) -> &Pacing {
        &self.pacing
    }

    /// All cursors, by number.
    pub fn cursors(&self) -> impl Iterator<Item = Option<&Cursor>> {
        self.cursors.iter().map(Option::as_deref)
    }

    /// Copies that run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Tells the wall clock: its difference to the engine's clock, in NTP units.
    pub fn set_ntp_offset(&mut self, offset: u64) {
        self.ntp_offset = offset;
    }

    /// Puts a stream into slot `slot`; hands back what was there.
    pub fn put_stream(&mut self, slot: u32, stream: Option<Box<StreamSlot>>) -> Option<Box<StreamSlot>> {
        std::mem::replace(&mut self.streams[slot as usize], stream)
    }

    /// Whether a copy of the stream in `slot` is still there.
    pub fn in_use(&self, slot: u32) -> bool {
        self.cursors.iter().flatten().any(|cursor| cursor.stream == slot)
    }

    /// Starts a copy in the free slot `number`; its stream must be there. Hands the cursor back if either isn't so.
    pub fn start(&mut self, number: u32, cursor: Box<Cursor>, now: Time) -> Result<(), Box<Cursor>> {
        let vacant = !self.silent && self.cursors.get(number as usize).is_some_and(Option::is_none);
        let stream = self.streams.get(cursor.stream as usize).and_then(Option::as_deref);
        if !vacant || stream.is_none() {
            return Err(cursor);
        }
        let due = cursor.due;
        self.wheel.insert(media_key(number), due);
        if cursor.reports.is_some() {
            // The first report follows the first packet, so that receivers can synchronise at once.
            self.wheel.insert(report_key(number), due.max(now).plus_nanos(1_000_000));
        }
        self.cursors[number as usize] = Some(cursor);
        self.running += 1;
        Ok(())
    }

    /// Stops a copy: sends its BYE and hands it out; what it has outstanding still leaves.
    pub fn stop(&mut self, number: u32, now: Time) -> Option<Box<Cursor>> {
        self.cursors.get(number as usize)?.as_ref()?;
        self.send_report(number, now, true);
        self.wheel.remove(media_key(number));
        self.wheel.remove(report_key(number));
        self.running -= 1;
        self.cursors[number as usize].take()
    }

    /// Sends the BYEs of all copies, as far as the ring takes them, and lets none of them go on.
    pub fn silence(&mut self, now: Time) {
        for number in 0..self.cursors.len() as u32 {
            if self.cursors[number as usize].is_none() || self.silent {
                continue;
            }
            if self.port.room() == 0 {
                self.drain();
            }
            self.send_report(number, now, true);
            self.wheel.remove(media_key(number));
            self.wheel.remove(report_key(number));
        }
        self.silent = true;
    }

    /// Posts a frame made elsewhere (a query, a key message); one that finds no room or no frame is counted and lost.
    pub fn send_frame(&mut self, bytes: &[u8]) {
        if self.port.room() == 0 {
            self.counters.ring_full += 1;
        } else if bytes.len() > FRAME_SIZE {
            self.counters.oversized += 1;
        } else if let Some(frame) = self.store.take_scratch() {
            frame_bytes(self.port.memory(), frame)[..bytes.len()].copy_from_slice(bytes);
            self.port.post(Desc { addr: u64::from(frame) * FRAME_SIZE as u64, len: bytes.len() as u32 });
            self.counters.frames += 1;
        } else {
            self.counters.no_frame += 1;
        }
    }

    /// Lets what is outstanding leave: no new packets.
    pub fn drain(&mut self) {
        self.port.submit();
        self.reap();
    }

    /// One pass: reap, post what is due, publish and kick, watch. Returns when to come back at the latest; `None` when
    /// nothing is planned and nothing outstanding.
    pub fn turn(&mut self, now: Time) -> Option<Time> {
        let reaped = self.reap();
        self.send_due(now);
        self.port.submit();
        self.watch(now, reaped);
        let outstanding = self.port.outstanding() > 0;
        let reap_by = outstanding.then(|| now.plus_nanos(1_000_000));
        match (self.wheel.next_due(), reap_by) {
            (Some(due), Some(reap)) => Some(due.min(reap)),
            (due, reap) => due.or(reap),
        }
    }

    fn reap(&mut self) -> usize {
        let mut done = [0; REAP];
        let mut total = 0;
        loop {
            let count = self.port.reap(&mut done);
            for address in &done[..count] {
                self.store.completed((address / FRAME_SIZE as u64) as u32);
            }
            total += count;
            if count < REAP {
                return total;
            }
        }
    }

    fn send_due(&mut self, now: Time) {
        // A turn is bounded by the room it found, however much is overdue.
        let mut left = self.port.room();
        while left > 0 {
            let room = left.min(self.batch.len());
            let count = self.wheel.expire(now, &mut self.batch[..room]);
            self.fetch(count);
            for at in 0..count {
                if self.making {
                    self.fetch_media(at, count);
                }
                let made = self.counters.encrypted;
                self.serve(self.batch[at], now);
                self.making = self.counters.encrypted != made;
            }
            if count == 0 {
                return;
            }
            left -= count;
            self.port.submit();
        }
        if self.wheel.next_due().is_some_and(|due| due <= now) {
            self.counters.ring_full += 1;
        }
    }

    /// Asks for the memory the batch will touch, so that the misses overlap instead of adding up.
    #[inline]
    fn fetch(&mut self, count: usize) {
        if count == 1 {
            return;
        }
        for &key in &self.batch[..count] {
            if let Some(cursor) = &self.cursors[key as usize / 2] {
                prefetch::all_for_write(std::slice::from_ref(&**cursor));
            }
        }
        for &key in &self.batch[..count] {
            let Some(cursor) = &self.cursors[key as usize / 2] else { continue };
            let Some(slot) = &self.streams[cursor.stream as usize] else { continue };
            if let Some(frame) = slot.frame(cursor.place.n) {
                self.store.prefetch(frame);
                prefetch_headers(self.port.memory(), frame);
            }
        }
    }

    /// While packets are being made: asks for the media and the frame of the packet after this one, so that they are there
    /// when its turn comes; this one's encryption takes longer than memory does.
    #[inline]
    fn fetch_media(&mut self, at: usize, count: usize) {
        let following = self.batch[if at + 1 < count { at + 1 } else { at }];
        let Some(cursor) = &self.cursors[following as usize / 2] else { return };
        let Some(slot) = &self.streams[cursor.stream as usize] else { return };
        // The last of a batch is followed by itself, as far as one can know.
        let place = if at + 1 < count { cursor.place } else { slot.stream.advance(cursor.place) };
        prefetch::all_for_read(slot.stream.media().payload(place.n));
        if let Some(frame) = slot.frame(place.n) {
            let len = slot.stream.max_len();
            prefetch::all_for_write(&frame_bytes(self.port.memory(), frame)[RTP_OFFSET - 64..RTP_OFFSET + len]);
        }
    }

    #[inline]
    fn serve(&mut self, key: u32, now: Time) {
        let number = key / 2;
        if key == media_key(number) {
            self.serve_media(number, now);
        } else {
            self.serve_report(number, now);
        }
    }

    #[inline]
    fn serve_media(&mut self, number: u32, now: Time) {
        let Some(cursor) = &mut self.cursors[number as usize] else { return };
        let Some(slot) = &self.streams[cursor.stream as usize] else { return };
        let late = now.since(cursor.due);
        if late > self.max_lateness {
            self.counters.skipped += 1;
        } else if let Some(posted) = post_packet(&mut self.port, &mut self.store, &mut self.counters, cursor, slot) {
            cursor.packets += 1;
            cursor.octets += u64::from(posted);
            self.pacing.record(late);
        } else {
            self.counters.no_frame += 1;
            self.wheel.insert(media_key(number), now.plus_nanos(100_000));
            return;
        }
        if !cursor.advance(&slot.stream) {
            self.counters.exhausted += 1;
            return;
        }
        if self.running <= FEW_CURSORS
            && let Some(frame) = slot.frame(cursor.place.n + LOOK_AHEAD)
        {
            prefetch_headers(self.port.memory(), frame);
        }
        // Behind its plan it goes behind what has waited longer: under load, all copies lag alike.
        self.wheel.insert(media_key(number), cursor.due.max(now));
    }

    fn serve_report(&mut self, number: u32, now: Time) {
        self.send_report(number, now, false);
        let random = self.next_random();
        if let Some(cursor) = &self.cursors[number as usize] {
            self.wheel.insert(report_key(number), now.plus_nanos(cursor.report_interval(random)));
        }
    }

    /// Posts a sender report; one that finds no room or no frame is left out, the next one says the same.
    fn send_report(&mut self, number: u32, now: Time, bye: bool) {
        let Some(cursor) = &mut self.cursors[number as usize] else { return };
        let Some(slot) = &self.streams[cursor.stream as usize] else { return };
        if self.port.room() == 0 {
            self.counters.ring_full += 1;
            return;
        }
        let Some(frame) = self.store.take_scratch() else {
            self.counters.no_frame += 1;
            return;
        };
        let ntp = ntp_from_nanos(now.nanos()).wrapping_add(self.ntp_offset);
        let bytes = frame_bytes(self.port.memory(), frame);
        let len = cursor.write_report(&slot.stream, now, ntp, bye, &mut bytes[RTP_OFFSET..]);
        let (Some(reports), true) = (&cursor.reports, len > 0) else {
            self.store.completed(frame);
            return;
        };
        let sum = ones_complement_sum(&bytes[RTP_OFFSET..RTP_OFFSET + len]);
        let start = reports.template.write(bytes, len, sum);
        self.port.post(desc(frame, start, len));
        cursor.reports_sent += 1;
        self.counters.reports += 1;
    }

    #[cold]
    fn rebuild(&mut self) {
        self.broken = self.port.rebuild().is_err();
        match self.broken {
            false => self.counters.rebuilds += 1,
            true => self.counters.rebuilds_failed += 1,
        }
        self.reap();
    }

    fn watch(&mut self, now: Time, reaped: usize) {
        // A port without a socket has nothing outstanding, and yet it has to be tried again.
        let waiting = self.port.outstanding() > 0 || self.broken;
        match self.watchdog.look(now, reaped > 0, waiting) {
            Remedy::None => {}
            // This turn's submit has kicked already: here it is only counted.
            Remedy::Kick => self.counters.stalls += 1,
            Remedy::Rebuild => self.rebuild(),
        }
    }

    /// xorshift64*: spreads reports in time, nothing secret.
    fn next_random(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// Posts the packet at the cursor's place: out of its resident frame, or made anew. Returns the octets of its payload
/// as sender reports count them, or `None` when no frame was free.
#[inline]
fn post_packet<P: Port>(
    port: &mut P,
    store: &mut FrameStore,
    counters: &mut Counters,
    cursor: &Cursor,
    slot: &StreamSlot,
) -> Option<u32> {
    let resident = slot.frame(cursor.place.n);
    let look_up = |frame| (frame, store.look_up(frame, slot.owner, cursor.index));
    let (frame, len, sum) = match resident.map(look_up) {
        Some((frame, Lookup::Resident { len, sum })) => {
            store.posted(frame);
            (frame, usize::from(len), sum)
        }
        Some((frame, Lookup::Fill)) => {
            let (len, sum) = make_packet(port, frame, cursor, slot);
            store.filled(frame, slot.owner, cursor.index, len as u16, sum);
            counters.encrypted += 1;
            (frame, len, sum)
        }
        other => {
            let frame = store.take_scratch()?;
            let (len, sum) = make_packet(port, frame, cursor, slot);
            counters.encrypted += 1;
            match other {
                Some((_, Lookup::Busy)) => counters.scratch_busy += 1,
                Some(_) => counters.scratch_newer += 1,
                None => counters.scratch_beyond += 1,
            }
            (frame, len, sum)
        }
    };
    let start = cursor.template.write(frame_bytes(port.memory(), frame), len, sum);
    let desc = desc(frame, start, len);
    counters.sent += 1;
    counters.sent_bytes += u64::from(desc.len);
    port.post(desc);
    Some(slot.stream.media().payload_len(cursor.place.n) as u32)
}

fn make_packet<P: Port>(port: &mut P, frame: u32, cursor: &Cursor, slot: &StreamSlot) -> (usize, u16) {
    let packet = &mut frame_bytes(port.memory(), frame)[RTP_OFFSET..];
    let len = slot.stream.write(cursor.index, cursor.place, packet);
    (len, ones_complement_sum(&packet[..len]))
}

#[inline]
fn frame_bytes(memory: &mut [u8], frame: u32) -> &mut [u8] {
    let at = frame as usize * FRAME_SIZE;
    &mut memory[at..at + FRAME_SIZE]
}

#[inline]
fn prefetch_headers(memory: &mut [u8], frame: u32) {
    // Headers end at RTP_OFFSET; those of IPv4, and of IPv6 with up to … one VLAN tag, fit into the line before it.
    prefetch::for_write(&frame_bytes(memory, frame)[RTP_OFFSET - 64..]);
}

#[inline]
fn desc(frame: u32, start: usize, len: usize) -> Desc {
    Desc { addr: u64::from(frame) * FRAME_SIZE as u64 + start as u64, len: (RTP_OFFSET - start + len) as u32 }
}

/// Nanoseconds in NTP units (2⁻³² s).
pub fn ntp_from_nanos(nanos: u64) -> u64 {
    ((nanos / 1_000_000_000) << 32) | (((nanos % 1_000_000_000) << 32) / 1_000_000_000)
}
