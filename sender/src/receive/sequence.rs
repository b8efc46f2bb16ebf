//! Sequence and arrival statistics of one source, as RFC 3550 A.1, A.3 and A.8 define them for reception reports.

/// The highest value a reception report can carry for packets lost, 24 bits signed.
const MAX_CUMULATIVE: i64 = 0x7f_ffff;

/// What a reception report block says of the source, apart from the SR times (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Loss since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets expected less packets received, clamped to 24 bits signed; duplicates make it smaller.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
}

/// Counts of one source. Duplicates and late packets count as received here, since the RFC says so; what was really
/// delivered is the reorder buffer's to say.
#[derive(Clone, Debug)]
pub struct Reception {
    base: u64,
    highest: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    clock_rate: u32,
    /// Relative transit time of the last packet, in timestamp units modulo 2^32.
    transit: Option<u32>,
    /// Jitter × 16, as in RFC 3550 A.8.
    jitter: u32,
}

impl Reception {
    /// Begins with the first valid packet's index; that packet is then told by [`Reception::on_packet`].
    pub fn new(first: u64, clock_rate: u32) -> Reception {
        Reception {
            base: first,
            highest: first,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            clock_rate,
            transit: None,
            jitter: 0,
        }
    }

    /// Counts a packet that arrived at `now` (ns). Returns whether it came after one with a higher index.
    pub fn on_packet(&mut self, now: u64, index: u64, timestamp: u32) -> bool {
        self.received += 1;
        let behind = index < self.highest;
        self.highest = self.highest.max(index);
        let arrival = (u128::from(now) * u128::from(self.clock_rate) / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let d = i64::from(transit.wrapping_sub(last) as i32).unsigned_abs() as u32;
            // J += (|D| - J) / 16, in sixteenths and rounded as in the RFC.
            self.jitter = self.jitter.wrapping_add(d).wrapping_sub((self.jitter + 8) >> 4);
        }
        behind
    }

    /// Moves the base back to a packet that came out of order at the very start.
    pub fn begin_at(&mut self, first: u64) {
        self.base = self.base.min(first);
    }

    /// The highest index received.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Packets expected from the first to the highest.
    pub fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    /// Jitter in timestamp units.
    pub fn jitter(&self) -> u32 {
        self.jitter >> 4
    }

    /// Jitter in microseconds.
    pub fn jitter_us(&self) -> u64 {
        u64::from(self.jitter) * 1_000_000 / 16 / u64::from(self.clock_rate.max(1))
    }

    /// The figures for a report that is sent now; the next fraction lost counts from here.
    pub fn report(&mut self) -> Figures {
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let fraction_lost = match expected_interval.checked_sub(received_interval) {
            None | Some(0) => 0,
            Some(lost) => ((lost << 8) / expected_interval).min(255) as u8,
        };
        let lost = expected as i64 - self.received as i64;
        Figures {
            fraction_lost,
            cumulative_lost: lost.clamp(-MAX_CUMULATIVE - 1, MAX_CUMULATIVE) as i32,
            highest: self.highest as u32,
            jitter: self.jitter(),
        }
    }
}

/// Media time against arrival: where the stream began, and how early a packet ever came compared with its timestamp.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock_rate: u32,
    first: u32,
    last: u32,
    /// Timestamp of the last packet less that of the reference, unwrapped.
    elapsed: i64,
    /// Highest value `elapsed` ever had.
    furthest: i64,
    /// Offset of `first` from the reference: negative when an earlier packet turned up at the start.
    first_offset: i64,
    min_transit: i64,
}

impl Timeline {
    /// Begins with the first packet.
    pub fn new(now: u64, timestamp: u32, clock_rate: u32) -> Timeline {
        Timeline {
            clock_rate,
            first: timestamp,
            last: timestamp,
            elapsed: 0,
            furthest: 0,
            first_offset: 0,
            min_transit: now as i64,
        }
    }

    /// A packet with this timestamp came at `now` (ns); `is_first`: it has the lowest index so far.
    pub fn on_packet(&mut self, now: u64, timestamp: u32, is_first: bool) {
        self.elapsed += i64::from(timestamp.wrapping_sub(self.last) as i32);
        self.last = timestamp;
        self.furthest = self.furthest.max(self.elapsed);
        self.min_transit = self.min_transit.min(now as i64 - self.to_nanos(self.elapsed));
        if is_first {
            self.first = timestamp;
            self.first_offset = self.elapsed;
        }
    }

    /// Timestamp of the packet with the first index.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// The smallest arrival time less media time, where media time counts from [`Timeline::first`]: the moment at
    /// which the first packet would have come had it been as quick as the quickest. Nanoseconds of the arrival clock.
    pub fn min_transit(&self) -> i64 {
        self.min_transit + self.to_nanos(self.first_offset)
    }

    /// Media time from the first packet to the furthest one, in nanoseconds.
    pub fn position(&self) -> u64 {
        self.to_nanos(self.furthest - self.first_offset).max(0) as u64
    }

    fn to_nanos(&self, units: i64) -> i64 {
        (i128::from(units) * 1_000_000_000 / i128::from(self.clock_rate.max(1))) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn report_figures_are_those_counted_by_hand() {
        let mut reception = Reception::new(1000, 90_000);
        // 1000…1009 without 1003 and 1004, and 1009 twice: expected 10, received 9.
        for index in [1000, 1001, 1002, 1005, 1006, 1007, 1008, 1009, 1009] {
            reception.on_packet(0, index, 0);
        }
        let first = reception.report();
        // One of ten missing: 256 / 10 = 25.
        assert_eq!((first.fraction_lost, first.cumulative_lost, first.highest), (25, 1, 1009));
        for index in [1010, 1011, 1013] {
            reception.on_packet(0, index, 0);
        }
        let second = reception.report();
        // One of four in this interval: 64.
        assert_eq!((second.fraction_lost, second.cumulative_lost, second.highest), (64, 2, 1013));
        // Nothing new: no loss in the interval.
        assert_eq!(reception.report().fraction_lost, 0);
        // More duplicates than losses: the fraction is 0, the sum goes down.
        for _ in 0..5 {
            reception.on_packet(0, 1013, 0);
        }
        let third = reception.report();
        assert_eq!((third.fraction_lost, third.cumulative_lost), (0, -3));
    }

    #[test]
    fn cumulative_loss_is_clamped_and_the_highest_carries_the_cycles() {
        let mut reception = Reception::new(0, 90_000);
        reception.on_packet(0, 0, 0);
        reception.on_packet(0, 0x1_0000_0001, 0);
        let figures = reception.report();
        assert_eq!((figures.cumulative_lost, figures.fraction_lost, figures.highest), (0x7f_ffff, 255, 1));
    }

    #[test]
    fn jitter_follows_the_algorithm_of_a_8() {
        let mut reception = Reception::new(0, 90_000);
        // Packets 10 ms (900 units) apart by timestamp, arriving 10, 11, 10, 10 ms apart.
        let arrivals = [0, 10 * MS, 21 * MS, 31 * MS, 41 * MS];
        for (i, &arrival) in arrivals.iter().enumerate() {
            reception.on_packet(arrival, i as u64, 900 * i as u32);
        }
        // |D| = 0, 90, 0, 0: J×16 = 0, 90, 90-6 = 84, 84-5 = 79; J = 4.
        assert_eq!(reception.jitter, 79);
        assert_eq!(reception.jitter(), 4);
        assert_eq!(reception.jitter_us(), 79 * 1_000_000 / 16 / 90_000);
    }

    #[test]
    fn steady_packets_have_no_jitter_even_over_the_timestamp_wrap() {
        let mut reception = Reception::new(0, 90_000);
        for i in 0..100u64 {
            reception.on_packet(i * 10 * MS, i, (0xffff_ff00u32).wrapping_add(900 * i as u32));
        }
        assert_eq!(reception.jitter(), 0);
    }

    #[test]
    fn the_quickest_packet_sets_the_transit() {
        let start = 5_000 * MS;
        let mut timeline = Timeline::new(start + 3 * MS, 0xffff_fc7c, 90_000);
        timeline.on_packet(start + 10 * MS + MS, 0, false); // 900 units later, 1 ms late
        timeline.on_packet(start + 20 * MS + 2 * MS, 900, false);
        assert_eq!(timeline.min_transit(), (start + MS) as i64);
        assert_eq!(timeline.position(), 20 * MS);
        // The packet before the first turns up late: everything counts from it now.
        timeline.on_packet(start + 23 * MS, 0xffff_fc7cu32.wrapping_sub(900), true);
        assert_eq!(timeline.min_transit(), (start + MS) as i64 - (10 * MS) as i64);
        assert_eq!(timeline.position(), 30 * MS);
    }
}
