//! Who is in the session (RFC 3550 6.2.1): the participants heard of, bounded in number, forgotten after silence.

use super::timing::Membership;
use std::collections::HashMap;

/// More participants than these are not remembered: the interval is minutes by then, whatever comes on top.
pub const MAX_REMEMBERED: usize = 1 << 17;

/// The table of participants other than this one.
#[derive(Debug, Default)]
pub struct Members {
    /// SSRC -> when it was last heard.
    heard: HashMap<u32, u64>,
    /// SSRC -> when RTP last came from it.
    senders: HashMap<u32, u64>,
}

impl Members {
    /// RTCP with a CNAME came from this participant.
    pub fn on_rtcp(&mut self, now: u64, ssrc: u32) {
        if self.heard.len() < MAX_REMEMBERED || self.heard.contains_key(&ssrc) {
            self.heard.insert(ssrc, now);
        }
    }

    /// A valid RTP packet came from this source.
    pub fn on_rtp(&mut self, now: u64, ssrc: u32) {
        self.heard.insert(ssrc, now);
        self.senders.insert(ssrc, now);
    }

    /// The participant left. Returns whether it was known.
    pub fn on_bye(&mut self, ssrc: u32) -> bool {
        self.senders.remove(&ssrc);
        self.heard.remove(&ssrc).is_some()
    }

    /// Forgets participants that were silent since `now - timeout`, and senders silent for two of the five intervals
    /// of that timeout (RFC 3550 6.3.5). Returns whether anybody went.
    pub fn expire(&mut self, now: u64, timeout: u64) -> bool {
        let before = self.heard.len();
        self.heard.retain(|_, &mut heard| now.saturating_sub(heard) <= timeout);
        self.senders.retain(|_, &mut heard| now.saturating_sub(heard) <= timeout / 5 * 2);
        self.heard.len() < before
    }

    /// The counts, this participant included.
    pub fn count(&self) -> Membership {
        Membership { members: self.heard.len() + 1, senders: self.senders.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_come_by_report_and_go_by_bye_or_silence() {
        let mut members = Members::default();
        members.on_rtp(0, 1);
        members.on_rtcp(0, 2);
        members.on_rtcp(60, 3);
        assert_eq!(members.count(), Membership { members: 4, senders: 1 });
        assert!(members.on_bye(2));
        assert!(!members.on_bye(2));
        assert!(!members.expire(50, 100));
        assert_eq!(members.count(), Membership { members: 3, senders: 0 });
        assert!(members.expire(101, 100));
        assert_eq!(members.count(), Membership { members: 2, senders: 0 });
    }

    #[test]
    fn the_table_is_bounded() {
        let mut members = Members::default();
        for ssrc in 0..MAX_REMEMBERED as u32 + 1000 {
            members.on_rtcp(1, ssrc);
        }
        assert_eq!(members.count().members, MAX_REMEMBERED + 1);
    }
}
