//! Changes of state that the XDP program tells, typed.

use std::net::{IpAddr, SocketAddr};

use sender_common::{Event as Record, EventKind, Hops, Protocol, TitleEntry, TitleId};

/// Who reports, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The title.
    pub title: TitleId,
    /// Where the reports come from.
    pub source: SocketAddr,
    /// The SSRC in them.
    pub ssrc: u32,
    /// How far away, in routers; `None` for reports by multicast.
    pub hops: Option<u8>,
    /// Announced, or of an open title.
    pub known: bool,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A receiver's first report, or its first after a BYE.
    FirstReport(Reporter),
    /// A receiver said BYE.
    Bye(Reporter),
    /// A host joined one of our groups.
    Join {
        /// The title that is sent there.
        title: TitleId,
        /// The group.
        group: IpAddr,
        /// The host; may be the unspecified address (a proxy).
        source: IpAddr,
        /// In which protocol.
        protocol: Protocol,
    },
    /// A host left one of our groups.
    Leave {
        /// The title that is sent there.
        title: TitleId,
        /// The group.
        group: IpAddr,
        /// The host.
        source: IpAddr,
        /// In which protocol.
        protocol: Protocol,
    },
    /// A querier is heard for the first time, or another one than before.
    QuerierSeen {
        /// Its address.
        source: IpAddr,
        /// In which protocol.
        protocol: Protocol,
    },
}

impl Event {
    /// The time (nanoseconds of `CLOCK_MONOTONIC`) and the event of a record; `None` if a newer program wrote what we don't know.
    pub(super) fn from_record(record: &[u8]) -> Option<(u64, Self)> {
        let record = Record::from_bytes(record)?;
        let title = TitleEntry(record.title).title();
        let (source, group) = (record.source.ip(), record.group.ip());
        let reporter = || Reporter {
            title,
            source: SocketAddr::new(source, record.port),
            ssrc: record.ssrc,
            hops: Hops(record.hops).known(),
            known: record.detail == 1,
        };
        let protocol = Protocol::from_number(record.detail);
        let event = match EventKind::from_number(record.kind)? {
            EventKind::FirstReport => Self::FirstReport(reporter()),
            EventKind::Bye => Self::Bye(reporter()),
            EventKind::Join => Self::Join { title, group, source, protocol: protocol? },
            EventKind::Leave => Self::Leave { title, group, source, protocol: protocol? },
            EventKind::QuerierSeen => Self::QuerierSeen { source, protocol: protocol? },
        };
        Some((record.time, event))
    }
}
