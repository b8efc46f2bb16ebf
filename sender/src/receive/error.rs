//! Why receiving could not begin or go on: what was tried, on what, and what to do.

use super::source::State;
use crate::srtp::KeyFileError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Errors of `sender receive`.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// An argument that cannot be right.
    #[error("{option} {value}: {reason}\n{remedy}")]
    Argument {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// What would be right.
        remedy: String,
    },
    /// The key file cannot be used.
    #[error("--key-file: {0}")]
    Key(#[from] KeyFileError),
    /// A socket could not be opened on the address.
    #[error(
        "cannot open {address}/udp: {source}\nIs the port in use by a program that does not share it, or is IPv6 off on \
         this host?"
    )]
    Socket {
        /// The address it was to be bound to.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The group could not be joined.
    #[error(
        "cannot join {group} on {interface}: {source}\nThe interface must be up and have an address of that family; the \
         number of memberships is limited by net.ipv4.igmp_max_memberships and igmp_max_msf."
    )]
    Join {
        /// The group, with its source if there is one.
        group: String,
        /// The interface's name.
        interface: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}\nIs the folder there and writable, and is there space left?", path.display())]
    Write {
        /// The file, or `-` for standard output.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A system call of the receive loop failed.
    #[error("receiving on {what} failed: {source}")]
    Io {
        /// What it was about.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Nothing that could be received has come.
    #[error("{}", silence(.what, .waited, .state, .others))]
    Silence {
        /// Group, source and interface.
        what: String,
        /// How long was waited.
        waited: Duration,
        /// How far it had come.
        state: State,
        /// Datagrams that did come but could not be used.
        others: u64,
    },
}

impl ReceiveError {
    /// The exit code: 2 if the call cannot work as it was made, 1 if it failed on the way.
    pub fn exit_code(&self) -> u8 {
        match self {
            ReceiveError::Argument { .. }
            | ReceiveError::Key(_)
            | ReceiveError::Socket { .. }
            | ReceiveError::Join { .. } => 2,
            ReceiveError::Write { .. } | ReceiveError::Io { .. } | ReceiveError::Silence { .. } => 1,
        }
    }
}

fn silence(what: &str, waited: &Duration, state: &State, others: &u64) -> String {
    let waited = waited.as_secs_f64();
    match (state, others) {
        (State::WrongKey | State::SearchingRoc, _) => format!(
            "packets come from {what}, but none has authenticated in {waited} s\n\
             Check the key file against the sender's, and give the rollover counter with --roc if the stream has sent \
             more than 4 thousand million packets."
        ),
        (_, 0) => format!(
            "no packet from {what} in {waited} s\nCheck:\n\
             - the group and port, against the sender's configuration and the title's SDP\n\
             - the source: with --source only packets from exactly that address are let through\n\
             - the interface: is it up, and is it the one on which the sender is reached?\n\
             - the switches: with IGMP/MLD snooping there must be a querier in the network, or the group is not forwarded\n\
             - a firewall on this host"
        ),
        (_, others) => format!(
            "{others} datagrams came to {what} in {waited} s, but no RTP stream is among them\n\
             Check the port (RTCP is one above RTP), --ssrc, and whether something else uses this group."
        ),
    }
}
