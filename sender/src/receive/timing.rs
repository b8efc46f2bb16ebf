//! When to send RTCP: the transmission interval of RFC 3550 6.3 and A.7 with timer reconsideration, reverse
//! reconsideration and the back-off of BYE. Times are nanoseconds given by the caller; randomness comes from a seed.

/// Share of the session bandwidth that RTCP takes (RFC 3550 6.2).
pub const RTCP_FRACTION: f64 = 0.05;
/// The RFC's minimum between two reports of one participant, in nanoseconds.
pub const MIN_INTERVAL: u64 = 5_000_000_000;
/// From this many members on a BYE has to wait its turn (RFC 3550 6.3.7).
const BYE_AT_ONCE: usize = 50;
const SENDER_FRACTION: f64 = 0.25;
/// e − 3/2: timer reconsideration makes the mean interval shorter than intended by this much.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;
/// Members that stay silent for this many intervals are gone (RFC 3550 6.3.5).
const TIMEOUT_MULTIPLIER: f64 = 5.0;

/// How many there are in the session, this participant included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// All participants.
    pub members: usize,
    /// Those that send RTP.
    pub senders: usize,
}

/// What the caller has to send now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A report; tell its size by [`Timing::on_sent`].
    Report,
    /// The BYE; nothing follows it.
    Bye,
}

/// The transmission timer of one participant that never sends RTP itself.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Last transmission (tp), next one (tn).
    last: f64,
    next: f64,
    pmembers: usize,
    /// Octets per second for RTCP of the whole session.
    bandwidth: f64,
    average_size: f64,
    initial: bool,
    minimum: f64,
    /// BYEs counted while waiting to send ours: then it takes the place of the membership.
    leaving: Option<usize>,
    random: SplitMix,
}

impl Timing {
    /// Joins the session at `now`. `bandwidth`: of the whole session in bit/s; `first_size`: of the first report with
    /// UDP and IP headers; `minimum`: [`MIN_INTERVAL`] but for tests; `seed` makes the random intervals.
    pub fn new(now: u64, bandwidth: u64, first_size: usize, minimum: u64, seed: u64) -> Timing {
        let now = now as f64;
        let mut timing = Timing {
            last: now,
            next: now,
            pmembers: 1,
            bandwidth: 0.0,
            average_size: first_size as f64,
            initial: true,
            minimum: minimum as f64,
            leaving: None,
            random: SplitMix(seed),
        };
        timing.set_bandwidth(bandwidth);
        timing.next = now + timing.interval(Membership { members: 1, senders: 0 });
        timing
    }

    /// The session's bandwidth in bit/s, as it is known now.
    pub fn set_bandwidth(&mut self, bits_per_second: u64) {
        self.bandwidth = (bits_per_second as f64 / 8.0 * RTCP_FRACTION).max(1.0);
    }

    /// When [`Timing::on_expire`] has something to do.
    pub fn deadline(&self) -> u64 {
        self.next.ceil() as u64
    }

    /// The timer, with reconsideration (RFC 3550 6.3.6): sends only if that is still right for the members known now.
    pub fn on_expire(&mut self, now: u64, membership: Membership) -> Option<Due> {
        if now < self.deadline() {
            return None;
        }
        let membership = self.effective(membership);
        self.pmembers = membership.members;
        let next = self.last + self.interval(membership);
        if next > now as f64 {
            self.next = next;
            return None;
        }
        if self.leaving.is_some() {
            self.next = f64::INFINITY;
            return Some(Due::Bye);
        }
        self.last = now as f64;
        // Drawn again with `initial` still as it was, as in A.7.
        self.next = self.last + self.interval(membership);
        self.initial = false;
        Some(Due::Report)
    }

    /// The report that was due has this size, headers of UDP and IP included.
    pub fn on_sent(&mut self, size: usize) {
        self.average(size);
    }

    /// A compound packet came from somebody, without BYE; size with headers of UDP and IP.
    pub fn on_received(&mut self, size: usize) {
        if self.leaving.is_none() {
            self.average(size);
        }
    }

    /// A BYE came, in a compound of this size.
    pub fn on_bye(&mut self, size: usize) {
        self.average(size);
        if let Some(byes) = &mut self.leaving {
            *byes += 1;
        }
    }

    /// Members have gone, by BYE or silence: reverse reconsideration (RFC 3550 6.3.4).
    pub fn on_fewer(&mut self, now: u64, membership: Membership) {
        if self.leaving.is_some() || membership.members >= self.pmembers {
            return;
        }
        let now = now as f64;
        let ratio = membership.members as f64 / self.pmembers as f64;
        self.next = now + ratio * (self.next - now);
        self.last = now - ratio * (now - self.last);
        self.pmembers = membership.members;
    }

    /// Whether a report has been sent yet. Who never sent one must not say BYE.
    pub fn has_sent(&self) -> bool {
        !self.initial
    }

    /// Leaves the session; `bye_size` is the compound's. In a small session the BYE is due at once, in a large one it
    /// backs off (RFC 3550 6.3.7) and comes out of [`Timing::on_expire`]. `Some(Due::Bye)`: send it now.
    pub fn leave(&mut self, now: u64, membership: Membership, bye_size: usize) -> Option<Due> {
        if membership.members < BYE_AT_ONCE {
            self.next = f64::INFINITY;
            return Some(Due::Bye);
        }
        self.last = now as f64;
        self.pmembers = 1;
        self.initial = true;
        self.leaving = Some(1);
        self.average_size = bye_size as f64;
        self.next = self.last + self.interval(Membership { members: 1, senders: 0 });
        None
    }

    /// How long a member may be silent before it counts as gone, in ns (RFC 3550 6.3.5). The fixed minimum is used,
    /// so that nobody with a longer one is dropped.
    pub fn member_timeout(&self, membership: Membership) -> u64 {
        (TIMEOUT_MULTIPLIER * self.deterministic(membership, MIN_INTERVAL as f64)) as u64
    }

    /// While leaving, BYEs take the place of members, and nobody is a sender.
    fn effective(&self, membership: Membership) -> Membership {
        match self.leaving {
            Some(members) => Membership { members, senders: 0 },
            None => membership,
        }
    }

    fn average(&mut self, size: usize) {
        self.average_size = size as f64 / 16.0 + self.average_size * 15.0 / 16.0;
    }

    /// Td of RFC 3550 6.3.1 in nanoseconds, for a participant that does not send.
    fn deterministic(&self, membership: Membership, minimum: f64) -> f64 {
        let (members, senders) = (membership.members as f64, membership.senders as f64);
        let (n, bandwidth) = if senders <= members * SENDER_FRACTION {
            (members - senders, self.bandwidth * (1.0 - SENDER_FRACTION))
        } else {
            (members, self.bandwidth)
        };
        (self.average_size * n / bandwidth * 1e9).max(minimum)
    }

    /// T of RFC 3550 6.3.1: randomised and compensated.
    fn interval(&mut self, membership: Membership) -> f64 {
        let minimum = if self.initial { self.minimum / 2.0 } else { self.minimum };
        self.deterministic(membership, minimum) * (self.random.unit() + 0.5) / COMPENSATION
    }
}

/// SplitMix64: enough to spread the reports of many receivers; nothing secret hangs on it.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const PAIR: Membership = Membership { members: 2, senders: 1 };

    fn timing(seed: u64) -> Timing {
        Timing::new(0, 8_000_000, 100, MIN_INTERVAL, seed)
    }

    /// Runs the timer until it says that something is due; returns when.
    fn run(timing: &mut Timing, membership: Membership) -> (u64, Due) {
        for _ in 0..1000 {
            let now = timing.deadline();
            if let Some(due) = timing.on_expire(now, membership) {
                return (now, due);
            }
        }
        panic!("the timer never fires");
    }

    #[test]
    fn the_first_report_comes_within_half_the_minimum_randomised() {
        for seed in 0..1000 {
            let first = timing(seed).deadline() as f64 / 1e9;
            assert!((2.5 * 0.5 / COMPENSATION..=2.5 * 1.5 / COMPENSATION).contains(&first), "{first}");
        }
    }

    #[test]
    fn intervals_in_a_small_session_average_near_five_seconds_and_keep_their_bounds() {
        let (mut sum, mut count) = (0.0, 0.0);
        for seed in 0..200 {
            let mut timing = timing(seed);
            let (mut last, _) = run(&mut timing, PAIR);
            // The second interval is still drawn with the initial half.
            timing.on_sent(100);
            for turn in 0..50 {
                let (now, due) = run(&mut timing, PAIR);
                assert_eq!(due, Due::Report);
                timing.on_sent(100);
                let interval = (now - last) as f64 / 1e9;
                last = now;
                assert!(interval >= 5.0 * 0.5 / COMPENSATION - 1e-6, "{interval}");
                assert!(interval <= 5.0 * 1.5 / COMPENSATION + 1e-6, "{interval}");
                if turn > 0 {
                    sum += interval;
                    count += 1.0;
                }
            }
        }
        let mean = sum / count;
        assert!((mean - 5.0).abs() < 0.25, "mean interval {mean}");
    }

    #[test]
    fn many_receivers_share_the_bandwidth_for_receivers() {
        // 10,000 members, 100 octets each, 1 Mb/s: 6250 octets/s × 75 % for 9,999 receivers: 213 s each.
        let membership = Membership { members: 10_000, senders: 1 };
        let (mut sum, mut count) = (0.0, 0.0);
        for seed in 0..100 {
            let mut timing = Timing::new(0, 1_000_000, 100, MIN_INTERVAL, seed);
            let (mut last, _) = run(&mut timing, membership);
            for turn in 0..30 {
                let (now, _) = run(&mut timing, membership);
                if turn > 0 {
                    sum += (now - last) as f64 / 1e9;
                    count += 1.0;
                }
                last = now;
            }
        }
        let expected = 100.0 * 9_999.0 / (1_000_000.0 / 8.0 * 0.05 * 0.75);
        let mean = sum / count;
        assert!((mean / expected - 1.0).abs() < 0.05, "mean {mean}, expected {expected}");
    }

    #[test]
    fn senders_above_a_quarter_share_with_the_receivers() {
        let timing = Timing::new(0, 1_600, 100, MIN_INTERVAL, 1);
        // 10 octets/s for RTCP. 4 of 10 send: 10 × 100 / 10; 1 of 10: 9 × 100 / 7.5.
        assert_eq!(timing.deterministic(Membership { members: 10, senders: 4 }, 0.0).round(), 100e9);
        assert_eq!(timing.deterministic(Membership { members: 10, senders: 1 }, 0.0).round(), 120e9);
    }

    #[test]
    fn reconsideration_holds_the_report_back_when_members_have_grown() {
        let mut timing = Timing::new(0, 1_000_000, 100, MIN_INTERVAL, 3);
        let first = timing.deadline();
        let crowd = Membership { members: 5_000, senders: 1 };
        assert_eq!(timing.on_expire(first, crowd), None);
        assert!(timing.deadline() > first + 20 * S, "put off to {}", timing.deadline());
        assert!(!timing.has_sent());
    }

    #[test]
    fn reverse_reconsideration_brings_the_report_forward() {
        let mut timing = Timing::new(0, 1_000_000, 100, MIN_INTERVAL, 3);
        let crowd = Membership { members: 5_000, senders: 1 };
        let (sent, _) = run(&mut timing, crowd);
        let (next, now) = (timing.deadline(), sent + S);
        timing.on_fewer(now, Membership { members: 500, senders: 1 });
        let expected = now as f64 + 0.1 * (next - now) as f64;
        assert!((timing.deadline() as f64 - expected).abs() < 1e4);
        assert!((timing.last - (now as f64 - 0.1 * S as f64)).abs() < 1e4);
        // More members than before do not move anything here.
        let before = timing.deadline();
        timing.on_fewer(now, Membership { members: 600, senders: 1 });
        assert_eq!(timing.deadline(), before);
    }

    #[test]
    fn the_average_size_moves_by_a_sixteenth() {
        let mut timing = timing(1);
        timing.on_received(260);
        assert_eq!(timing.average_size, 110.0);
        timing.on_sent(110);
        assert_eq!(timing.average_size, 110.0);
    }

    #[test]
    fn a_bye_goes_at_once_among_few_and_backs_off_among_many() {
        assert_eq!(timing(1).leave(10 * S, PAIR, 100), Some(Due::Bye));
        let mut one = Timing::new(0, 64_000, 100, MIN_INTERVAL, 1);
        let crowd = Membership { members: 1_000, senders: 1 };
        assert_eq!(one.leave(10 * S, crowd, 100), None);
        // Alone in leaving: at most 2.5 s × 1.5 / 1.218 and no less than the half of it.
        let (now, due) = run(&mut one, crowd);
        assert_eq!(due, Due::Bye);
        assert!((11 * S..14 * S).contains(&now), "{now}");
        // With 900 others leaving: it waits for its share of the bandwidth.
        let mut late = Timing::new(0, 64_000, 100, MIN_INTERVAL, 1);
        assert_eq!(late.leave(10 * S, crowd, 100), None);
        for _ in 0..900 {
            late.on_bye(100);
        }
        let (now, _) = run(&mut late, crowd);
        assert!(now > 90 * S, "{now}");
        assert_eq!(late.on_expire(u64::MAX / 2, crowd), None, "one BYE is enough");
    }

    #[test]
    fn members_are_given_five_intervals() {
        assert_eq!(timing(1).member_timeout(PAIR), 25 * S);
    }
}
