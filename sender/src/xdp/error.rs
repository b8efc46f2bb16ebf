//! What can go wrong with the XDP program, and what to do about it.

use std::{error::Error, io};

use thiserror::Error;

/// Why the program could not be loaded, attached or asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum XdpError {
    /// The build had no BPF toolchain.
    #[error("this build of sender has no XDP program in it; run `cargo xtask setup` and build again")]
    NotBuilt,
    /// The kernel refused for lack of rights.
    #[error(
        "not permitted to {what}; run as root or give the binary CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON"
    )]
    NotPermitted {
        /// What was tried.
        what: &'static str,
    },
    /// There is no such interface.
    #[error("there is no interface {interface} (in this network namespace); `ip link` lists those that there are")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// The driver has no native XDP.
    #[error(
        "{interface}'s driver can't run XDP natively; set `xdp = \"generic\"` and `mode = \"auto\"` to accept the slower generic mode"
    )]
    NativeNotSupported {
        /// The interface.
        interface: String,
    },
    /// The driver's buffers are too small for the interface's MTU.
    #[error(
        "{interface}'s MTU (on veth: or its peer's) is too large for native XDP; lower it to 1500, or set `xdp = \"generic\"`"
    )]
    MtuTooLarge {
        /// The interface.
        interface: String,
    },
    /// Another XDP program is there.
    #[error(
        "another XDP program is attached to {interface}; `ip link show {interface}` names it, and its owner must detach it first"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// The kernel is too old for links that end with their owner.
    #[error(
        "the kernel has no BPF link for XDP on {interface}, so a killed sender would stay attached; use Linux 5.9 or newer"
    )]
    NoLink {
        /// The interface.
        interface: String,
    },
    /// Anything else about loading.
    #[error("can't load the XDP program: {0}")]
    Load(#[source] Box<dyn Error + Send + Sync>),
    /// Anything else about attaching.
    #[error("can't attach the XDP program to {interface}: {source}")]
    Attach {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A map could not be read or written.
    #[error("can't {what} in the XDP program's map {map}: {source}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// On which map.
        map: &'static str,
        /// What the kernel said.
        source: aya::maps::MapError,
    },
    /// A title's number is beyond the table.
    #[error(
        "title {title} is beyond the {titles} titles the XDP program was loaded for; raise `titles` in its settings"
    )]
    TitleBeyond {
        /// The title.
        title: u16,
        /// How many there is room for.
        titles: u32,
    },
    /// An address that is no group.
    #[error("{address} is no multicast group")]
    NotAGroup {
        /// The address.
        address: std::net::IpAddr,
    },
    /// All-multicast could not be held.
    #[error("can't hold all-multicast on {interface}: {source}")]
    Hold {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The operating system's error at the bottom of a chain of errors.
pub(super) fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut error = Some(error);
    while let Some(here) = error {
        if let Some(io) = here.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        error = here.source();
    }
    None
}
