//! One media source (one SSRC): accepted once it has shown that it is one, then decrypted, counted and put in order.

use super::acquire::Acquire;
use super::reorder::{Limits, Placed, Reorder};
use super::rtp::Header;
use super::search::{Search, Step};
use super::sequence::{Figures, Reception, Timeline};
use super::summary::Counts;
use crate::srtp::{IndexGuess, KeyFile, PacketIndex, Rtp};
use serde::Serialize;
use std::ops::Range;

/// So many packets in a row that do not authenticate, for so many ns: the index is lost, not the packets.
const TRACK_LOST: (u32, u64) = (64, 1_000_000_000);
/// Rollover counters tried at once when the index is looked for again.
const AGAIN_STEP: u32 = 1024;
/// A jump further than this needs a second packet to be believed where nothing authenticates it (RFC 3550 A.1).
const MAX_JUMP: u64 = 3000;

/// A packet as it is delivered: decrypted and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its place in the stream.
    pub index: PacketIndex,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// When it arrived, in ns.
    pub arrival: u64,
    bytes: Vec<u8>,
    payload: Range<usize>,
}

impl Packet {
    /// The media in it.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }
}

/// What is known of a source beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a> {
    /// The key, if the stream is protected.
    pub key: Option<&'a KeyFile>,
    /// The rollover counter, if it was told.
    pub roc: Option<u32>,
    /// Whether the SSRC was told, so that the first packet is enough to accept it.
    pub expected: bool,
    /// Timestamp units per second.
    pub clock_rate: u32,
    /// Of the reorder buffer.
    pub limits: Limits,
}

/// How far the reception of a source has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No packet, or not yet two in sequence.
    Waiting,
    /// No rollover counter fits the packets: most likely the key is wrong.
    WrongKey,
    /// The rollover counter is being looked for.
    SearchingRoc,
    /// Media flows.
    Receiving,
}

/// What the session has to do about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Taken,
    /// The stream has begun anew under the same SSRC: replace this source and give the packet to the new one.
    Restarted,
}

/// The source itself.
#[derive(Debug)]
pub struct Source {
    ssrc: u32,
    clock_rate: u32,
    limits: Limits,
    crypto: Option<Rtp>,
    acquire: Option<Acquire>,
    track: Option<Box<Track>>,
    counts: Counts,
    last_heard: u64,
}

/// State once the index is known and the first packet is in.
#[derive(Debug)]
pub struct Track {
    /// RFC 3550 figures.
    pub reception: Reception,
    /// Media time against arrival.
    pub timeline: Timeline,
    /// When the first packet came, in ns.
    pub first_arrival: u64,
    /// When the last one came, in ns.
    pub last_arrival: u64,
    reorder: Reorder<Packet>,
    guess: IndexGuess,
    /// Authentication failures in a row.
    failures: u32,
    /// Looks for the index again after a long interruption.
    search: Option<Search>,
    /// Without a key: the sequence number that would confirm a jump.
    jump: Option<u16>,
}

impl Source {
    /// A source from which the first packet is about to come.
    pub fn new(now: u64, ssrc: u32, profile: Profile<'_>) -> Source {
        let acquire = match profile.key {
            Some(_) => Acquire::searching(profile.roc),
            None => Acquire::probation(profile.roc.unwrap_or(0), profile.expected),
        };
        Source {
            ssrc,
            clock_rate: profile.clock_rate,
            limits: profile.limits,
            crypto: profile.key.map(|file| Rtp::new(&file.master, ssrc, file.mki)),
            acquire: Some(acquire),
            track: None,
            counts: Counts::default(),
            last_heard: now,
        }
    }

    /// Takes a packet of this SSRC that arrived at `now`.
    pub fn on_packet(&mut self, now: u64, header: &Header, bytes: &[u8]) -> Heard {
        let Some(acquire) = &mut self.acquire else { return self.receive(now, header, bytes, true) };
        self.last_heard = now;
        let surplus = acquire.on_packet(now, header.sequence, bytes);
        if self.crypto.is_some() {
            self.counts.auth_failed += surplus;
        } else {
            self.counts.late += surplus;
            self.poll(now);
        }
        Heard::Taken
    }

    /// Goes on with searches, gives up gaps.
    pub fn poll(&mut self, now: u64) {
        if let Some(index) = self.acquire.as_mut().and_then(|acquire| acquire.step(now, self.crypto.as_ref())) {
            let held = self.acquire.take().map(|mut acquire| acquire.take_held()).unwrap_or_default();
            self.begin(index, held.into());
        }
        let Some(track) = &mut self.track else { return };
        track.reorder.poll(now);
        let Some(rtp) = &self.crypto else { return };
        match track.search.as_mut().map(|search| search.step(rtp, AGAIN_STEP)) {
            Some(Step::Found(index)) => {
                track.guess = IndexGuess::near(index);
                track.search = None;
                track.failures = 0;
            }
            Some(Step::Exhausted) => {
                track.search = None;
                track.failures = 0;
            }
            Some(Step::Unfinished) | None => {}
        }
    }

    /// When [`Source::poll`] next has something to do.
    pub fn deadline(&self) -> Option<u64> {
        if self.acquire.as_ref().is_some_and(Acquire::is_busy) {
            return Some(0);
        }
        let track = self.track.as_ref()?;
        if track.search.is_some() { Some(0) } else { track.reorder.deadline() }
    }

    /// The stream is over: what is held comes out, gaps count as lost.
    pub fn flush(&mut self) {
        if let Some(track) = &mut self.track {
            track.reorder.flush();
        }
    }

    /// The next packet in order.
    pub fn pop(&mut self) -> Option<Packet> {
        self.track.as_mut()?.reorder.pop().map(|(_, packet)| packet)
    }

    /// What the next report says of this source; `None` before it is accepted.
    pub fn report(&mut self) -> Option<Figures> {
        Some(self.track.as_mut()?.reception.report())
    }

    /// Its SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// When a packet last came that belongs to it for certain.
    pub fn last_heard(&self) -> u64 {
        self.last_heard
    }

    /// What was counted, losses of the reorder buffer included.
    pub fn counts(&self) -> Counts {
        Counts { lost: self.track.as_ref().map_or(0, |track| track.reorder.lost()), ..self.counts }
    }

    /// How far it has come.
    pub fn state(&self) -> State {
        match &self.acquire {
            Some(Acquire::Probation { .. }) => State::Waiting,
            Some(acquire) if acquire.has_failed() => State::WrongKey,
            Some(_) => State::SearchingRoc,
            None if self.track.is_some() => State::Receiving,
            None => State::Waiting,
        }
    }

    /// First index and the figures, once it is received.
    pub fn track(&self) -> Option<(u64, &Track)> {
        self.track.as_ref().map(|track| (track.reorder.first(), &**track))
    }

    /// The index of one packet is known: the held ones follow from it.
    fn begin(&mut self, index: PacketIndex, held: Vec<(u64, Vec<u8>)>) {
        let guess = IndexGuess::near(index);
        for (arrival, bytes) in held {
            let Some(header) = Header::parse(&bytes) else { continue };
            // Nothing authenticates these: what is far off was not of the stream.
            let near = guess.guess(header.sequence).is_some_and(|other| other.get().abs_diff(index.get()) < MAX_JUMP);
            if self.crypto.is_none() && !near {
                self.counts.late += 1;
                continue;
            }
            match self.open(&guess, &header, &bytes) {
                Some(packet) if self.track.is_none() => self.first(arrival, index, packet),
                Some(_) => {
                    self.receive(arrival, &header, &bytes, false);
                }
                None => {}
            }
        }
    }

    fn first(&mut self, arrival: u64, near: PacketIndex, packet: Packet) {
        self.last_heard = arrival;
        self.track = Some(Box::new(Track {
            reception: Reception::new(packet.index.get(), self.clock_rate),
            timeline: Timeline::new(arrival, packet.timestamp, self.clock_rate),
            first_arrival: arrival,
            last_arrival: arrival,
            reorder: Reorder::new(self.limits, arrival, packet.index.get()),
            guess: IndexGuess::near(near),
            failures: 0,
            search: None,
            jump: None,
        }));
        self.place(arrival, packet);
    }

    /// Decrypts, if there is a key, and finds the payload. Counts what does not work.
    fn open(&mut self, guess: &IndexGuess, header: &Header, bytes: &[u8]) -> Option<Packet> {
        let mut bytes = bytes.to_vec();
        let index = guess.guess(header.sequence);
        if let Some(rtp) = &self.crypto {
            let opened = index.and_then(|index| rtp.unprotect(index, &mut bytes).ok());
            let Some(len) = opened else {
                self.counts.auth_failed += 1;
                return None;
            };
            bytes.truncate(len);
        }
        match (index, header.payload(&bytes)) {
            (Some(index), Some(payload)) => {
                Some(Packet { index, timestamp: header.timestamp, marker: header.marker, arrival: 0, bytes, payload })
            }
            _ => {
                self.counts.malformed += 1;
                None
            }
        }
    }

    fn receive(&mut self, now: u64, header: &Header, bytes: &[u8], jumps: bool) -> Heard {
        let Some(track) = &mut self.track else { return Heard::Taken };
        if jumps && self.crypto.is_none() {
            match track.jump_to(header.sequence) {
                Jump::None => {}
                Jump::Unconfirmed => {
                    self.counts.late += 1;
                    return Heard::Taken;
                }
                Jump::Back => return Heard::Restarted,
            }
        }
        let guess = track.guess.clone();
        match self.open(&guess, header, bytes) {
            Some(packet) => self.place(now, packet),
            None if self.crypto.is_some() => self.on_failure(now, header, bytes),
            None => {}
        }
        Heard::Taken
    }

    /// An authentic packet: into the statistics and the buffer.
    fn place(&mut self, now: u64, mut packet: Packet) {
        let Some(track) = &mut self.track else { return };
        self.last_heard = now;
        track.last_arrival = now;
        track.failures = 0;
        track.search = None;
        packet.arrival = now;
        let (index, timestamp, len) = (packet.index, packet.timestamp, packet.payload.len());
        // Only moves forward on what is new; the buffer below is what remembers duplicates.
        track.guess.accept(index);
        let behind = track.reception.on_packet(now, index.get(), timestamp);
        match track.reorder.insert(now, index.get(), packet) {
            Placed::Duplicate => self.counts.duplicate += 1,
            Placed::Late => self.counts.late += 1,
            Placed::New => {
                self.counts.received += 1;
                self.counts.bytes += len as u64;
                self.counts.reordered += u64::from(behind);
                let is_first = index.get() == track.reorder.first();
                track.reception.begin_at(track.reorder.first());
                track.timeline.on_packet(now, timestamp, is_first);
            }
        }
    }

    fn on_failure(&mut self, now: u64, header: &Header, bytes: &[u8]) {
        let last_heard = self.last_heard;
        let Some(track) = &mut self.track else { return };
        track.failures = track.failures.saturating_add(1);
        if track.search.is_none() && track.failures >= TRACK_LOST.0 && now.saturating_sub(last_heard) >= TRACK_LOST.1 {
            let roc = (track.reception.highest() >> 16) as u32;
            track.search = Some(Search::onwards(bytes.to_vec(), header.sequence, roc));
        }
    }
}

/// What a sequence number far from the last ones means where nothing authenticates it.
enum Jump {
    None,
    Unconfirmed,
    Back,
}

impl Track {
    /// RFC 3550 A.1: a large jump is believed when a second packet follows it.
    fn jump_to(&mut self, sequence: u16) -> Jump {
        let highest = self.reception.highest();
        let index = self.guess.guess(sequence).map_or(0, PacketIndex::get);
        if index.abs_diff(highest) < MAX_JUMP {
            self.jump = None;
            return Jump::None;
        }
        if self.jump.replace(sequence.wrapping_add(1)) != Some(sequence) {
            return Jump::Unconfirmed;
        }
        self.jump = None;
        // At rollover counter 0 the guess never goes below index 0; the distance on the circle tells.
        if sequence.wrapping_sub(highest as u16) < 0x8000 { Jump::None } else { Jump::Back }
    }
}
