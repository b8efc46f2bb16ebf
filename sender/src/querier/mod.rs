//! The box as IGMP/MLD querier: without one, a snooping switch either floods a group everywhere or lets it dry up.
//!
//! In: queries heard from others, leaves, the time. Out: [`Query`]s to send, and their bytes ([`QueryFrame`]). Elections by
//! RFC 3376 §6.6.2 and RFC 3810 §7.6.2: the lowest address wins, and 0.0.0.0 is not a querier (RFC 4541 §2.1.1). Not done
//! here: sending, and listening (the XDP program sees queries and leaves).

mod frame;

use std::{net::IpAddr, time::Duration};

pub use frame::QueryFrame;

use crate::transmit::Time;

/// Query interval, RFC 3376 §8.2.
const QUERY_INTERVAL: Duration = Duration::from_secs(125);
/// Query response interval, RFC 3376 §8.3.
const RESPONSE_INTERVAL: Duration = Duration::from_secs(10);
/// Robustness variable, RFC 3376 §8.1.
const ROBUSTNESS: u8 = 2;
/// Startup query interval, RFC 3376 §8.6.
const STARTUP_INTERVAL: Duration = Duration::from_millis(31_250);
/// Last member query interval, RFC 3376 §8.8.
const LAST_MEMBER_INTERVAL: Duration = Duration::from_secs(1);
/// Without a query from the other querier for so long, it is gone (RFC 3376 §8.5).
const OTHER_QUERIER_PRESENT: Duration = Duration::from_secs(255);
/// Groups with group-specific queries to come; a leave beyond that waits for the next general query.
const MAX_LEAVING: usize = 256;

/// When the box is the querier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    Off,
    /// If no other querier was heard for 255 s.
    Auto,
    /// From the start, until one with a lower address is heard.
    On,
}

impl Policy {
    /// What is left of the policy where queries can't be sent, or those of others can't be heard: a box that is mute is no
    /// querier, and one that is deaf must not take itself for the only one unless it was told to.
    pub fn within(self, can_ask: bool, can_hear: bool) -> Self {
        match self {
            _ if !can_ask => Self::Off,
            Self::Auto if !can_hear => Self::Off,
            policy => policy,
        }
    }
}

/// A query to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Who is in any group?
    General,
    /// Who is still in this group?
    Group(IpAddr),
}

/// The querier of one address family.
#[derive(Debug)]
pub struct Querier {
    policy: Policy,
    address: IpAddr,
    /// Another one is the querier until then.
    yields_until: Option<Time>,
    /// When the last query of another one was heard.
    heard: Option<Time>,
    next_general: Time,
    startup_left: u8,
    leaving: Vec<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    group: IpAddr,
    next: Time,
    left: u8,
}

impl Querier {
    /// A querier with the address its queries come from (IPv6: link-local).
    pub fn new(policy: Policy, address: IpAddr, now: Time) -> Self {
        let yields_until = (policy == Policy::Auto).then(|| now + OTHER_QUERIER_PRESENT);
        let (next_general, startup_left) = (now, ROBUSTNESS);
        Self { policy, address, yields_until, heard: None, next_general, startup_left, leaving: Vec::new() }
    }

    /// Whether this box is the querier now.
    pub fn is_querier(&self, now: Time) -> bool {
        self.policy != Policy::Off && self.yields_until.is_none_or(|until| until <= now)
    }

    /// A query of another box was heard at `now`. Told of the same one again, it takes no notice: who reads the last query
    /// out of a table tells it again and again, even long after its sender has gone.
    pub fn heard(&mut self, from: IpAddr, now: Time) {
        if from.is_unspecified() || from == self.address || from.is_ipv4() != self.address.is_ipv4() {
            return;
        }
        if self.heard.is_some_and(|heard| now <= heard) {
            return;
        }
        self.heard = Some(now);
        // An automatic querier yields to any other that is already there and not merely to a lower one.
        let waiting = self.policy == Policy::Auto && !self.is_querier(now);
        if from < self.address || waiting {
            self.yields_until = Some(now + OTHER_QUERIER_PRESENT);
            self.leaving.clear();
        }
    }

    /// A member left `group`: asks the others before switches prune it.
    pub fn left(&mut self, group: IpAddr, now: Time) {
        let known = self.leaving.iter().any(|leaving| leaving.group == group);
        let ours = group.is_ipv4() == self.address.is_ipv4();
        if self.is_querier(now) && ours && !known && self.leaving.len() < MAX_LEAVING {
            self.leaving.push(Leaving { group, next: now, left: ROBUSTNESS });
        }
    }

    /// A query that is due; call again until there is none.
    pub fn poll(&mut self, now: Time) -> Option<Query> {
        if !self.is_querier(now) {
            return None;
        }
        if self.yields_until.take().is_some() {
            // The other one is gone: this box takes over as if it had just started.
            self.next_general = now;
            self.startup_left = ROBUSTNESS;
        }
        if self.next_general <= now {
            self.startup_left = self.startup_left.saturating_sub(1);
            self.next_general = now + if self.startup_left > 0 { STARTUP_INTERVAL } else { QUERY_INTERVAL };
            return Some(Query::General);
        }
        let leaving = self.leaving.iter_mut().find(|leaving| leaving.next <= now)?;
        leaving.left -= 1;
        leaving.next = now + LAST_MEMBER_INTERVAL;
        let query = Query::Group(leaving.group);
        self.leaving.retain(|leaving| leaving.left > 0);
        Some(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn querier(policy: Policy) -> Querier {
        Querier::new(policy, ip("10.0.0.5"), at(0))
    }

    #[test]
    fn a_querier_asks_twice_at_the_start_and_then_every_interval() {
        let mut querier = querier(Policy::On);
        let times: Vec<u64> = (0..400).filter(|&second| querier.poll(at(second)) == Some(Query::General)).collect();
        assert_eq!(times, [0, 32, 157, 282]);
    }

    #[test]
    fn the_lower_address_wins_and_a_silent_winner_is_replaced() {
        let mut querier = querier(Policy::On);
        assert_eq!(querier.poll(at(0)), Some(Query::General));
        querier.heard(ip("10.0.0.9"), at(1));
        assert!(querier.is_querier(at(1)));
        querier.heard(ip("10.0.0.4"), at(2));
        assert!(!querier.is_querier(at(256)));
        assert_eq!(querier.poll(at(257)), Some(Query::General));
    }

    #[test]
    fn a_query_told_again_after_its_sender_has_gone_changes_nothing() {
        let mut querier = querier(Policy::On);
        querier.heard(ip("10.0.0.4"), at(2));
        let mut times = Vec::new();
        for second in 3..400 {
            querier.heard(ip("10.0.0.4"), at(2));
            times.extend(querier.poll(at(second)).map(|_| second));
        }
        assert_eq!(times, [257, 289]);
    }

    #[test]
    fn a_proxy_query_from_the_unspecified_address_is_not_a_querier() {
        let mut querier = querier(Policy::On);
        querier.heard(ip("0.0.0.0"), at(1));
        assert!(querier.is_querier(at(1)));
    }

    #[test]
    fn an_automatic_querier_waits_and_yields_to_whoever_is_there() {
        let mut querier = querier(Policy::Auto);
        assert_eq!(querier.poll(at(254)), None);
        querier.heard(ip("10.0.0.200"), at(254));
        assert_eq!(querier.poll(at(500)), None);
        assert_eq!(querier.poll(at(509)), Some(Query::General));
    }

    #[test]
    fn a_leave_is_followed_by_two_group_specific_queries() {
        let mut querier = querier(Policy::On);
        assert_eq!(querier.poll(at(0)), Some(Query::General));
        let group = ip("239.192.0.1");
        querier.left(group, at(1));
        querier.left(group, at(1));
        let times: Vec<u64> = (1..10).filter(|&second| querier.poll(at(second)) == Some(Query::Group(group))).collect();
        assert_eq!(times, [1, 2]);
    }

    #[test]
    fn a_mute_box_is_no_querier_and_a_deaf_one_only_if_told_to() {
        assert_eq!([Policy::On, Policy::Auto].map(|policy| policy.within(true, true)), [Policy::On, Policy::Auto]);
        assert_eq!([Policy::On, Policy::Auto].map(|policy| policy.within(false, true)), [Policy::Off; 2]);
        assert_eq!([Policy::On, Policy::Auto].map(|policy| policy.within(true, false)), [Policy::On, Policy::Off]);
    }

    #[test]
    fn a_querier_that_is_off_never_asks() {
        let mut querier = querier(Policy::Off);
        querier.left(ip("239.192.0.1"), at(1));
        assert!((0..1000).all(|second| querier.poll(at(second)).is_none()));
    }

    #[test]
    fn leaves_beyond_the_limit_wait_for_the_general_query() {
        let mut querier = querier(Policy::On);
        (0..2000u16).for_each(|n| querier.left(IpAddr::from([239, 192, (n >> 8) as u8, n as u8]), at(1)));
        assert_eq!(querier.leaving.len(), MAX_LEAVING);
    }
}
