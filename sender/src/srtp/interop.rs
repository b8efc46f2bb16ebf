//! Both ways against an independent implementation, the crate `webrtc-srtp` (which knows no MKI: it is cut out here).

use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::{MKI_LEN, MasterKey, Mki, PacketIndex, Rtcp, Rtp, TAG_LEN};

const SSRC: u32 = 0x0bad_cafe;
const MKI: Mki = *b"ep01";

fn master() -> MasterKey {
    MasterKey::new(*b"a key of 16 byte", *b"its salt of 14")
}

fn theirs() -> Context {
    let profile = ProtectionProfile::Aes128CmHmacSha1_80;
    Context::new(master().key(), master().salt(), profile, None, None).unwrap()
}

fn rtp_packet(index: PacketIndex, payload_len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 33];
    packet.extend(index.seq().to_be_bytes());
    packet.extend((index.get() as u32).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend((0..payload_len).map(|at| (at as u64 ^ index.get()) as u8));
    packet
}

fn ours(rtp: &Rtp, index: PacketIndex, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + rtp.overhead(), 0);
    let len = rtp.protect(index, &mut packet, 12, plain.len());
    assert_eq!(len, packet.len());
    packet
}

fn without_mki(packet: &[u8]) -> Vec<u8> {
    let (body, tail) = packet.split_at(packet.len() - MKI_LEN - TAG_LEN);
    assert_eq!(tail[..MKI_LEN], MKI);
    [body, &tail[MKI_LEN..]].concat()
}

fn with_mki(packet: &[u8]) -> Vec<u8> {
    let (body, tag) = packet.split_at(packet.len() - TAG_LEN);
    [body, &MKI, tag].concat()
}

/// The same packets from us to them and from them to us, at every step of `indices`. They can only be brought to a rollover
/// counter by walking there, in steps of less than 2^15; ours is simply told the index.
fn exchange(indices: impl Iterator<Item = u64>, payload_len: impl Fn(u64) -> usize) -> PacketIndex {
    let (mut sender, mut receiver) = (theirs(), theirs());
    let (plain, named) = (Rtp::new(&master(), SSRC, None), Rtp::new(&master(), SSRC, Some(MKI)));
    let mut last = PacketIndex::default();
    for value in indices {
        last = PacketIndex::new(value);
        let packet = rtp_packet(last, payload_len(value));
        let made = ours(&plain, last, &packet);
        assert_eq!(sender.encrypt_rtp(&packet).unwrap(), made, "same bytes at index {value:#x}");
        assert_eq!(receiver.decrypt_rtp(&made).unwrap(), packet, "they read ours at index {value:#x}");
        let made_with_mki = ours(&named, last, &packet);
        assert_eq!(without_mki(&made_with_mki), made);
        let mut got = with_mki(&made);
        assert_eq!(named.unprotect(last, &mut got), Ok(packet.len()), "we read theirs at index {value:#x}");
        assert_eq!(got[..packet.len()], packet);
    }
    last
}

#[test]
fn rtp_interoperates_over_the_first_rollover() {
    let last = exchange(0xff00..0x1_0100, |value| (value % 1400) as usize);
    assert_eq!(last.roc(), 1);
}

#[test]
fn rtp_interoperates_where_the_index_passes_32_bits() {
    let walk = (0..0xffff_ff00).step_by(0x7ff0).take_while(|&value| value < 0xffff_8000);
    let last = exchange(walk.chain([0xffff_8000]).chain(0xffff_fff0..0x1_0000_0010), |_| 20);
    assert_eq!(last.roc(), 0x1_0000);
}

#[test]
fn rtcp_interoperates_both_ways() {
    let (mut sender, mut receiver) = (theirs(), theirs());
    let (plain, named) = (Rtcp::new(&master(), None), Rtcp::new(&master(), Some(MKI)));
    let mut report = vec![0x80, 201, 0, 1];
    report.extend(SSRC.to_be_bytes());
    report.extend([0x81, 202, 0, 3]);
    report.extend(SSRC.to_be_bytes());
    report.extend(*b"\x01\x04name\x00\x00");
    for _ in 1..50u32 {
        let their_packet = sender.encrypt_rtcp(&report).unwrap();
        let mut got = with_mki(&their_packet);
        let (len, index) = named.unprotect(&mut got).unwrap();
        assert_eq!(got[..len], report);

        let mut made = report.clone();
        made.resize(report.len() + plain.overhead(), 0);
        assert_eq!(plain.protect(index, &mut made, report.len()), made.len());
        assert_eq!(their_packet, made, "same bytes at SRTCP index {index}");
        assert_eq!(receiver.decrypt_rtcp(&made).unwrap(), report);

        let mut made = report.clone();
        made.resize(report.len() + named.overhead(), 0);
        named.protect(index, &mut made, report.len());
        assert_eq!(without_mki(&made), their_packet);
    }
}
