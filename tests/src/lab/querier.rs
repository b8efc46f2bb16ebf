//! A querier for the lab: IGMPv3 and MLDv2 general queries from the sender's place, so that the bridge snoops.

use super::{Namespace, Node, SENDER_INTERFACE, capture::sending_socket, mac, v4};
use anyhow::{Context, Result};
use nix::sys::socket::{MsgFlags, send};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

/// How long a host may take to answer. Short, so that the lab is ready soon.
pub(super) const MAX_RESPONSE: Duration = Duration::from_millis(100);
/// Between two queries. The bridge forgets a querier after 255 s.
const INTERVAL: Duration = Duration::from_secs(30);
const HOST: u8 = 1;

/// Queries on a thread of its own until dropped.
#[derive(Debug)]
pub struct Querier {
    // Dropping the sending end wakes and ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Querier {
    /// Sends the first query before it returns.
    pub(super) fn start(node: &Node) -> Result<Self> {
        let socket = open(node)?;
        query(&socket)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("lab querier".into()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = query(&socket) {
                    eprintln!("the lab's querier: {error:#}");
                    return;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Querier {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the querier has been printed; it must not become a second one here.
            let _ = thread.join();
        }
    }
}

/// Queries from the sender's namespace of a lab that was left up, until the namespace goes or the process is killed.
pub fn query_for_ever(sender: &Namespace) -> Result<()> {
    let socket = open(sender)?;
    loop {
        query(&socket)?;
        std::thread::sleep(INTERVAL);
    }
}

fn open(namespace: &Namespace) -> Result<OwnedFd> {
    sending_socket(namespace, SENDER_INTERFACE).context("opening the querier's socket")
}

fn query(socket: &OwnedFd) -> Result<()> {
    for frame in [igmp_query(), mld_query()] {
        send(socket.as_raw_fd(), &frame, MsgFlags::empty()).context("sending a query")?;
    }
    Ok(())
}

/// An IGMPv3 general query (RFC 3376, 4.1) with the Router Alert option.
fn igmp_query() -> Vec<u8> {
    let group = Ipv4Addr::new(224, 0, 0, 1);
    let tenths = (MAX_RESPONSE.as_millis() / 100) as u8;
    let mut igmp = [0x11, tenths, 0, 0, 0, 0, 0, 0, 2, INTERVAL.as_secs() as u8, 0, 0];
    let sum = checksum(&[&igmp]);
    igmp[2..4].copy_from_slice(&sum);

    let mut ip = vec![0x46, 0xc0, 0, 36, 0, 0, 0x40, 0, 1, 2, 0, 0];
    ip.extend(v4(HOST).octets());
    ip.extend(group.octets());
    ip.extend([0x94, 4, 0, 0]);
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum);

    [&[0x01, 0x00, 0x5e, 0, 0, 1][..], &mac(HOST), &[0x08, 0x00], &ip, &igmp].concat()
}

/// An MLDv2 general query (RFC 3810, 5.1) with the Router Alert option.
fn mld_query() -> Vec<u8> {
    let [a, b, c, d, e, f] = mac(HOST);
    let mut source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).octets();
    source[8..].copy_from_slice(&[a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets();

    let mut mld = [0; 28];
    mld[0] = 130;
    mld[4..6].copy_from_slice(&(MAX_RESPONSE.as_millis() as u16).to_be_bytes());
    mld[24] = 2;
    mld[25] = INTERVAL.as_secs() as u8;
    let sum = checksum(&[&source, &group, &[0, 0, 0, 28, 0, 0, 0, 58], &mld]);
    mld[2..4].copy_from_slice(&sum);

    let ip = [0x60, 0, 0, 0, 0, 36, 0, 1];
    let options = [58, 0, 5, 2, 0, 0, 1, 0];
    [&[0x33, 0x33, 0, 0, 0, 1][..], &mac(HOST), &[0x86, 0xdd], &ip, &source, &group, &options, &mld].concat()
}

/// The Internet checksum (RFC 1071) of parts of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let sum: u32 =
        parts.iter().flat_map(|part| part.chunks(2)).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes()
}
