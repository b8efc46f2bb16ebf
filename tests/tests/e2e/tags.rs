//! VLAN tags on what is sent: seen on the receiver's wire, with the right packet behind them.

use super::stage::{LONG, PORT, SAMPLE, Stage, Title, config, number};
use anyhow::{Context, Result};
use sender::packet::ones_complement_sum;
use sender_tests::{lab::Captured, skip::require_root};
use std::path::Path;

#[test]
fn frames_carry_one_tag_or_two_and_the_right_packet_behind_them() -> Result<()> {
    if !require_root("frames_carry_one_tag_or_two_and_the_right_packet_behind_them") {
        return Ok(());
    }
    let stage = Stage::with_receivers(1)?;
    let file = std::fs::read(SAMPLE)?;
    let member = stage.lab.receiver(1).join("239.192.77.1".parse()?, PORT, None)?;
    for (tags, wire) in
        [("[100]", &[0x81, 0x00, 0xa0, 100][..]), ("[100, 200]", &[0x88, 0xa8, 0xa0, 100, 0x81, 0x00, 0xa0, 200][..])]
    {
        let capture = stage.lab.receiver(1).capture()?;
        let network = format!("mode = \"copy\"\nvlan = {tags}\nvlan_priority = 5");
        let sender = stage.run(&config(&network, &[Title::clear(Path::new(SAMPLE), "239.192.77.1")]))?;
        let first = number(&sender.status()?["copies"][0]["first_index"]);
        let ours =
            |frame: &Captured| frame.bytes.starts_with(&[0x01, 0x00, 0x5e, 0x40, 77, 1]) && frame.bytes.len() > 1000;
        for _ in 0..50 {
            let frame = capture.wait_for(LONG, ours)?.with_context(|| format!("a frame with tags {tags}"))?.bytes;
            assert_eq!(&frame[6..12], &stage.lab.sender().mac(), "source MAC");
            let (found, rest) = frame[12..].split_at(wire.len());
            assert_eq!(found, wire, "tags {tags}");
            let ip = rest.strip_prefix(&[8, 0]).context("IPv4 behind the tags")?;
            let rtp = payload_checked(ip)?;
            let n = u64::from(u16::from_be_bytes([rtp[2], rtp[3]])) - first;
            let start = n as usize * 7 * 188;
            assert_eq!(&rtp[12..], &file[start..start + 7 * 188], "packet {n}");
        }
        sender.end()?;
    }
    drop(member);
    Ok(())
}

/// The payload of a UDP datagram whose checksums and lengths are right.
fn payload_checked(ip: &[u8]) -> Result<&[u8]> {
    assert_eq!(ip[0], 0x45);
    assert_eq!(ones_complement_sum(&ip[..20]), 0xffff, "IP header checksum");
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let udp = ip.get(20..length).context("a packet as long as it says")?;
    assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len(), "UDP length");
    let mut summed = ip[12..20].to_vec();
    summed.extend([0, 17]);
    summed.extend(&udp[4..6]);
    summed.extend(udp);
    assert_eq!(ones_complement_sum(&summed), 0xffff, "UDP checksum");
    Ok(&udp[8..])
}
