//! What is sent, as both ends know it: the sample title, its keys, and which group belongs to which copy.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Result;
use sender::{
    media::Loop,
    packet::Stream,
    srtp::{MasterKey, PacketIndex},
};

/// Streams there are: one a queue.
pub(crate) const STREAMS: u8 = 2;
/// Copies of a stream at most.
pub(crate) const COPIES: u8 = 8;
/// Where RTP goes; RTCP goes to the next port.
pub(crate) const RTP_PORT: u16 = 5004;
/// Close below the end of the 16 bits: the roll-over counter moves on early in every check.
const FIRST_INDEX: u64 = 65_000;
/// Close below the end of the 32 bits, for the same reason.
const FIRST_TIMESTAMP: u32 = u32::MAX - 90_000;

/// The title's file.
pub(crate) const SAMPLE: &[u8] = include_bytes!("../../media/sample.ts");
/// Where the program `sender` sends its first copy; its SSRC and content the peer cannot foretell.
pub(crate) const PRODUCT_GROUP: Ipv4Addr = Ipv4Addr::new(239, 193, 0, 1);

/// The group of a stream's copy.
pub(crate) fn group(stream: u8, copy: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 192, stream, copy + 1)
}

/// Which stream's copy goes to this group.
pub(crate) fn copy_of(group: Ipv4Addr) -> Option<(u8, u8)> {
    match group.octets() {
        [239, 192, stream, number] if stream < STREAMS && (1..=COPIES).contains(&number) => Some((stream, number - 1)),
        _ => None,
    }
}

/// The title all streams are made of.
pub(crate) fn media() -> Result<Arc<Loop>> {
    Ok(Arc::new(Loop::from_bytes("sample.ts", SAMPLE.to_vec())?))
}

/// One protected stream over it, with an SSRC and a key of its own.
pub(crate) fn stream(number: u8, media: Arc<Loop>) -> Stream {
    let key = MasterKey::new([0xA0 + number; 16], [0x50 + number; 14]);
    let ssrc = 0x5EED_0000 + u32::from(number);
    Stream::new(media, ssrc, PacketIndex::new(FIRST_INDEX), FIRST_TIMESTAMP, Some((&key, Some([0, 0, 0, number]))))
}
