//! What the receiver says about its reception: the fields of `--status` and `--summary`.

use super::source::State;
use serde::Serialize;

/// What was counted. Every datagram on the RTP port is in exactly one of `received`, `duplicate`, `late`, `auth_failed`,
/// `malformed` and `foreign`, except for those that are held back until their source is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Packets accepted in time, each index once: these are delivered.
    pub received: u64,
    /// Packets given up: never delivered, even if they came late. At the end, and as long as there was one source only,
    /// `received + lost = last_index - first_index + 1`.
    pub lost: u64,
    /// Packets whose index had been there before (replays are among them).
    pub duplicate: u64,
    /// Of `received`: came after a packet with a higher index.
    pub reordered: u64,
    /// Came after their place was given up, or from before the first packet.
    pub late: u64,
    /// Did not authenticate under the key.
    pub auth_failed: u64,
    /// Not RTP, or with impossible lengths.
    pub malformed: u64,
    /// Of another SSRC than the one received.
    pub foreign: u64,
    /// Payload bytes of `received`, without headers and tags.
    pub bytes: u64,
}

impl Counts {
    /// The sum of both.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            received: self.received + other.received,
            lost: self.lost + other.lost,
            duplicate: self.duplicate + other.duplicate,
            reordered: self.reordered + other.reordered,
            late: self.late + other.late,
            auth_failed: self.auth_failed + other.auth_failed,
            malformed: self.malformed + other.malformed,
            foreign: self.foreign + other.foreign,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The last sender report: the wall clock and the media clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LastSenderReport {
    /// NTP timestamp (seconds since 1900 in the upper 32 bits).
    pub ntp: u64,
    /// The same moment as an RTP timestamp.
    pub rtp_timestamp: u32,
    /// Packets that the sender says it has sent.
    pub packets: u32,
    /// Payload octets that the sender says it has sent.
    pub octets: u32,
    /// When the report came: CLOCK_MONOTONIC, ns.
    pub arrival_ns: u64,
}

/// The state of a session. Counts are over all sources received so far, places and times are of the present source and
/// `null` until there is one. Times ending in `_arrival_ns` are CLOCK_MONOTONIC of this host in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// How far reception has come.
    pub state: State,
    /// See [`Counts`].
    #[serde(flatten)]
    pub counts: Counts,
    /// Sources accepted so far: more than 1 when the sender began anew.
    pub sources: u64,
    /// The present source.
    pub ssrc: Option<u32>,
    /// Index (ROC ‖ sequence number) of the first packet in order. Without a key and `--roc` the ROC counts from 0.
    pub first_index: Option<u64>,
    /// The highest index received.
    pub last_index: Option<u64>,
    /// Rollover counter of `last_index`.
    pub roc: Option<u32>,
    /// Arrival of the packet that came first.
    pub first_arrival_ns: Option<u64>,
    /// Arrival of the packet that came last.
    pub last_arrival_ns: Option<u64>,
    /// RTP timestamp of the packet with `first_index`.
    pub first_timestamp: Option<u32>,
    /// Media time from `first_timestamp` to the furthest timestamp received, ns.
    pub position_ns: Option<u64>,
    /// The minimum over all packets of (arrival − media time), where media time is the timestamp less `first_timestamp`,
    /// unwrapped, in ns: when the first packet would have come, had it been as quick as the quickest. CLOCK_MONOTONIC.
    pub min_transit_ns: Option<i64>,
    /// Interarrival jitter (RFC 3550 A.8), microseconds.
    pub jitter_us: Option<u64>,
    /// This receiver's own SSRC.
    pub own_ssrc: u32,
    /// Participants known, this one included.
    pub members: u64,
    /// Compound packets with a receiver report sent, those with a BYE included.
    pub reports_sent: u64,
    /// BYEs sent.
    pub byes_sent: u64,
    /// Valid compound packets from others.
    pub rtcp_received: u64,
    /// Datagrams on the RTCP port that were no valid compound packet, did not authenticate or were replayed.
    pub rtcp_refused: u64,
    /// Sender reports of the present source.
    pub sr_received: u64,
    /// The last of them.
    pub sr_last: Option<LastSenderReport>,
    /// The source has said BYE.
    pub source_left: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_every_field() {
        let ones = Counts {
            received: 1,
            lost: 2,
            duplicate: 3,
            reordered: 4,
            late: 5,
            auth_failed: 6,
            malformed: 7,
            foreign: 8,
            bytes: 9,
        };
        let twice = serde_json::to_value(ones.plus(ones)).expect("plain data");
        for (name, value) in serde_json::to_value(ones).expect("plain data").as_object().expect("an object") {
            assert_eq!(twice[name].as_u64(), value.as_u64().map(|v| 2 * v), "{name}");
        }
    }
}
