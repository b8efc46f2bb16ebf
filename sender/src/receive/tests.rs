//! The session as a whole, driven with invented packets and an invented clock.

use super::reorder::Limits;
use super::rtcp::tests::sender_compound;
use super::rtcp::{Item, SenderReport, is_compound, items, write_report};
use super::rtp::tests::packet;
use super::source::{Packet, State};
use super::*;
use crate::srtp::{KeyFile, MasterKey, PacketIndex, Rtcp, Rtp};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const SSRC: u32 = 0x1234_5678;
const START: u64 = 1_000 * S;

fn key() -> KeyFile {
    KeyFile { master: MasterKey::new([3; 16], [4; 14]), mki: Some([1, 2, 3, 4]) }
}

fn clear() -> Settings {
    let mut settings = Settings::new(0xaaaa_0001, "me".into(), 42);
    settings.limits = Limits { settle: 0, ..Limits::default() };
    settings
}

fn keyed() -> Settings {
    Settings { key: Some(key()), ..clear() }
}

/// Packet `index`, 1 ms of media each, whose payload is its index.
fn rtp(index: u64, key: Option<&KeyFile>) -> Vec<u8> {
    let mut bytes = packet(index as u16, (index as u32).wrapping_mul(90), SSRC, &index.to_be_bytes());
    if let Some(key) = key {
        let rtp = Rtp::new(&key.master, SSRC, key.mki);
        let len = bytes.len();
        bytes.resize(len + rtp.overhead(), 0);
        rtp.protect(PacketIndex::new(index), &mut bytes, 12, len);
    }
    bytes
}

fn sr(ntp: u64) -> SenderReport {
    SenderReport { ssrc: SSRC, ntp, rtp: 1, packets: 2, octets: 3 }
}

/// Feeds packets 1 ms apart, polling after each; what came out, checked against the payloads.
fn feed(
    session: &mut Session,
    now: &mut u64,
    indices: impl IntoIterator<Item = u64>,
    key: Option<&KeyFile>,
) -> Vec<u64> {
    let mut out = Vec::new();
    for index in indices {
        *now += MS;
        session.on_rtp(*now, &rtp(index, key));
        session.poll(*now);
        out.extend(drain(session));
    }
    out
}

fn drain(session: &mut Session) -> Vec<u64> {
    std::iter::from_fn(|| session.take_media()).map(|packet| number(&packet)).collect()
}

fn number(packet: &Packet) -> u64 {
    u64::from_be_bytes(packet.payload().try_into().expect("the test's payload is a number"))
}

/// Polls until nothing is left to do before `until`; the RTCP packets sent, with their times.
fn run_until(session: &mut Session, now: &mut u64, until: u64) -> Vec<(u64, Vec<u8>)> {
    let mut sent = Vec::new();
    loop {
        let next = session.poll(*now);
        while let Some(packet) = session.take_rtcp() {
            sent.push((*now, packet));
        }
        if next > until {
            *now = until;
            return sent;
        }
        *now = next.max(*now);
    }
}

#[test]
fn a_clear_stream_is_accepted_with_its_second_packet_and_nothing_is_missing() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    assert_eq!(feed(&mut session, &mut now, [7], None), [0u64; 0]);
    assert_eq!(session.snapshot().state, State::Waiting);
    assert_eq!(feed(&mut session, &mut now, 8..20, None), (7..20).collect::<Vec<_>>());
    let snapshot = session.snapshot();
    assert_eq!((snapshot.counts.received, snapshot.counts.lost, snapshot.counts.bytes), (13, 0, 104));
    assert_eq!((snapshot.first_index, snapshot.last_index, snapshot.ssrc), (Some(7), Some(19), Some(SSRC)));
    assert_eq!((snapshot.first_timestamp, snapshot.position_ns), (Some(630), Some(12 * MS)));
    assert_eq!(snapshot.min_transit_ns, Some((START + MS) as i64));
    assert_eq!(snapshot.first_arrival_ns, Some(START + MS));
}

#[test]
fn noise_before_and_beside_the_stream_is_counted_and_ignored() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    session.on_rtp(now, b"\0\0\0\0");
    session.on_rtp(now, &packet(100, 0, 999, b"hole punch"));
    now += 2 * S;
    let mut out = feed(&mut session, &mut now, 0..5, None);
    session.on_rtp(now, &packet(100, 0, 999, b"another sender"));
    session.on_rtp(now, &packet(101, 0, 999, b"another sender"));
    out.extend(feed(&mut session, &mut now, 5..10, None));
    assert_eq!(out, (0..10).collect::<Vec<_>>());
    let counts = session.snapshot().counts;
    assert_eq!((counts.malformed, counts.foreign, counts.received), (1, 2, 10));
}

#[test]
fn the_rollover_counter_of_a_protected_stream_is_found_without_losing_the_first_packets() {
    for first in [0u64, 0xfffe, 40_000 << 16 | 0xfff8, 65_535 << 16 | 5] {
        let (mut session, mut now) = (Session::new(keyed(), START), START);
        let out = feed(&mut session, &mut now, first..first + 40, Some(&key()));
        assert_eq!(out, (first..first + 40).collect::<Vec<_>>(), "from {first:#x}");
        let snapshot = session.snapshot();
        assert_eq!((snapshot.first_index, snapshot.counts.auth_failed), (Some(first), 0));
        assert_eq!(snapshot.roc, Some(((first + 39) >> 16) as u32));
    }
}

#[test]
fn a_rollover_counter_beyond_the_search_is_taken_from_the_setting() {
    let first = 0xffff_fff0_0000u64 | 0xfff0;
    let settings = Settings { roc: Some(0xffff_fff1), ..keyed() };
    let (mut session, mut now) = (Session::new(settings, START), START);
    assert_eq!(feed(&mut session, &mut now, first..first + 40, Some(&key())).len(), 40);
}

#[test]
fn a_wrong_key_ends_the_search_and_delivers_nothing() {
    let other = KeyFile { master: MasterKey::new([9; 16], [4; 14]), mki: Some([1, 2, 3, 4]) };
    let (mut session, mut now) = (Session::new(keyed(), START), START);
    assert_eq!(feed(&mut session, &mut now, 0..60, Some(&other)), [0u64; 0]);
    assert_eq!(session.snapshot().state, State::WrongKey);
    assert!(session.poll(now) > now, "it does not go on computing");
    assert_eq!(session.snapshot().counts.received, 0);
}

#[test]
fn another_stream_on_the_group_does_not_keep_the_protected_one_out() {
    let (mut session, mut now) = (Session::new(keyed(), START), START);
    let mut out = Vec::new();
    for index in 0..100u64 {
        session.on_rtp(now, &packet(index as u16, 0, 999, b"long enough to be protected, but it is not"));
        out.extend(feed(&mut session, &mut now, [index], Some(&key())));
    }
    out.extend(drain(&mut session));
    assert_eq!(out, (0..100).collect::<Vec<_>>());
}

#[test]
fn forged_and_replayed_packets_are_counted_and_change_nothing() {
    let (mut session, mut now) = (Session::new(keyed(), START), START);
    let mut out = feed(&mut session, &mut now, 65_500..65_530, Some(&key()));
    let mut forged = rtp(65_530, Some(&key()));
    forged[20] ^= 1;
    session.on_rtp(now, &forged);
    let mut jumped = rtp(65_531, Some(&key()));
    jumped[2] ^= 0x40;
    session.on_rtp(now, &jumped);
    session.on_rtp(now, &rtp(65_510, Some(&key())));
    out.extend(feed(&mut session, &mut now, 65_530..65_600, Some(&key())));
    assert_eq!(out, (65_500..65_600).collect::<Vec<_>>());
    let counts = session.snapshot().counts;
    assert_eq!((counts.auth_failed, counts.duplicate, counts.lost), (2, 1, 0));
}

#[test]
fn after_an_interruption_of_many_wraps_the_index_is_found_again_and_the_gap_is_loss() {
    let (mut session, mut now) = (Session::new(keyed(), START), START);
    feed(&mut session, &mut now, 0..100, Some(&key()));
    now += 60 * S;
    let again = 20 << 16 | 77;
    // The first ones show that the index is lost; from there on media flows.
    feed(&mut session, &mut now, again..again + 200, Some(&key()));
    session.leave(now);
    let snapshot = session.snapshot();
    assert_eq!(snapshot.last_index, Some(again + 199));
    assert_eq!(snapshot.counts.received + snapshot.counts.lost, again + 200);
    assert!(snapshot.counts.received > 200, "{:?}", snapshot.counts);
}

#[test]
fn clear_jumps_need_a_second_packet() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    feed(&mut session, &mut now, 0..10, None);
    // One stray packet far away is not believed.
    feed(&mut session, &mut now, [9_000], None);
    assert_eq!(feed(&mut session, &mut now, 10..12, None), [10, 11]);
    // Two are: what lies between is lost.
    feed(&mut session, &mut now, 9_001..9_003, None);
    session.leave(now);
    assert_eq!(drain(&mut session), [9_002]);
    let snapshot = session.snapshot();
    assert_eq!((snapshot.counts.lost, snapshot.counts.late), (9_002 - 12, 2));
    assert_eq!(snapshot.counts.received + snapshot.counts.lost, 9_003);
}

#[test]
fn a_sender_that_begins_anew_is_followed() {
    // Same SSRC, sequence numbers far back.
    let (mut session, mut now) = (Session::new(clear(), START), START);
    feed(&mut session, &mut now, 20_000..20_010, None);
    let out = feed(&mut session, &mut now, 0..10, None);
    assert_eq!(out, (1..10).collect::<Vec<_>>());
    assert_eq!((session.snapshot().sources, session.snapshot().first_index), (2, Some(1)));
    // Another SSRC, once the old one is silent.
    now += 3 * S;
    for sequence in 5..10u16 {
        now += MS;
        session.on_rtp(now, &packet(sequence, 0, 77, b"anew"));
    }
    let snapshot = session.snapshot();
    assert_eq!((snapshot.sources, snapshot.ssrc, snapshot.first_index), (3, Some(77), Some(5)));
    assert_eq!(snapshot.counts.received, 10 + 9 + 5);
}

#[test]
fn with_the_ssrc_told_nothing_else_is_received() {
    let settings = Settings { ssrc: Some(SSRC), ..clear() };
    let (mut session, mut now) = (Session::new(settings, START), START);
    for sequence in 0..50 {
        session.on_rtp(now, &packet(sequence, 0, 1, b"other"));
    }
    assert_eq!(feed(&mut session, &mut now, [3], None), [3]);
    assert_eq!(session.snapshot().counts.foreign, 50);
}

#[test]
fn reports_carry_the_figures_and_the_times_of_the_sender_report() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    feed(&mut session, &mut now, (0..100).filter(|i| i % 10 != 5), None);
    let sr_at = now;
    session.on_rtcp(now, &sender_compound(sr(0x1111_2222_3333_4444), false));
    let until = START + 4 * S;
    let sent = run_until(&mut session, &mut now, until);
    assert_eq!(sent.len(), 1, "one initial report within 3.1 s");
    let (at, report) = &sent[0];
    assert!(is_compound(report));
    assert_eq!(items(report)[..2], [Item::ReceiverReport(0xaaaa_0001), Item::Cname(0xaaaa_0001, b"me")]);
    assert_eq!((report[0], report[1]), (0x81, 201));
    assert_eq!(report[8..12], SSRC.to_be_bytes());
    // 10 of 100 lost: 25/256.
    assert_eq!(report[12..16], [25, 0, 0, 10]);
    assert_eq!(report[16..20], 99u32.to_be_bytes());
    assert_eq!(report[24..28], 0x2222_3333u32.to_be_bytes());
    let delay = ((at - sr_at) as f64 * 65_536.0 / 1e9) as u32;
    assert_eq!(report[28..32], delay.to_be_bytes());
    // Without media since, the next report is empty.
    let until = now + 10 * S;
    let sent = run_until(&mut session, &mut now, until);
    assert_eq!((sent[0].1[0], sent[0].1[1]), (0x80, 201));
    assert_eq!(session.snapshot().reports_sent, 1 + sent.len() as u64);
}

#[test]
fn reports_begin_before_any_media_and_a_bye_ends_them() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    let sent = run_until(&mut session, &mut now, START + 30 * S);
    assert!((4..=16).contains(&sent.len()), "{} reports in 30 s", sent.len());
    session.leave(now);
    let bye = session.take_rtcp().expect("the BYE is due at once");
    assert!(is_compound(&bye));
    assert_eq!(items(&bye).last(), Some(&Item::Bye(0xaaaa_0001)));
    assert!(session.has_left());
    assert_eq!(run_until(&mut session, &mut now, START + 90 * S), []);
    assert_eq!((session.snapshot().byes_sent, session.snapshot().reports_sent), (1, 1 + sent.len() as u64));
}

#[test]
fn who_never_reported_leaves_without_a_bye() {
    let mut session = Session::new(clear(), START);
    session.leave(START + 10 * MS);
    assert_eq!(session.take_rtcp(), None);
    assert!(session.has_left());
}

#[test]
fn other_members_slow_the_reports_down_and_their_leaving_speeds_them_up() {
    let mut settings = clear();
    settings.reports.bandwidth = Some(64_000);
    let (mut session, mut now) = (Session::new(settings, START), START);
    for ssrc in 1..=1000u32 {
        session.on_rtcp(now, &write_report(ssrc, None, "somebody", false));
    }
    assert_eq!(session.snapshot().members, 1001);
    // 1000 × ~70 octets / 300 octets/s: minutes.
    assert_eq!(run_until(&mut session, &mut now, START + 60 * S), []);
    for ssrc in 1..=990u32 {
        session.on_rtcp(now, &write_report(ssrc, None, "somebody", true));
    }
    assert_eq!(session.snapshot().members, 11);
    assert!(!run_until(&mut session, &mut now, START + 90 * S).is_empty());
}

#[test]
fn protected_sender_reports_are_opened_and_plain_ones_not_believed() {
    let (mut session, mut now) = (Session::new(keyed(), START), START);
    feed(&mut session, &mut now, 0..10, Some(&key()));
    session.on_rtcp(now, &sender_compound(sr(5), true));
    let snapshot = session.snapshot();
    assert_eq!((snapshot.sr_received, snapshot.rtcp_refused, snapshot.source_left), (0, 1, false));
    let crypto = Rtcp::new(&key().master, key().mki);
    let mut bytes = sender_compound(sr(5), false);
    let len = bytes.len();
    bytes.resize(len + crypto.overhead(), 0);
    crypto.protect(17, &mut bytes, len);
    session.on_rtcp(now, &bytes);
    session.on_rtcp(now, &bytes);
    let snapshot = session.snapshot();
    assert_eq!((snapshot.sr_received, snapshot.rtcp_refused), (1, 2));
    assert_eq!(snapshot.sr_last.map(|sr| (sr.ntp, sr.arrival_ns)), Some((5, now)));
}

#[test]
fn own_reports_are_protected_on_demand() {
    let mut settings = keyed();
    settings.reports.protect = true;
    let (mut session, mut now) = (Session::new(settings, START), START);
    let sent = run_until(&mut session, &mut now, START + 30 * S);
    let crypto = Rtcp::new(&key().master, key().mki);
    for (i, (_, packet)) in sent.into_iter().enumerate() {
        let mut packet = packet;
        let (len, index) = crypto.unprotect(&mut packet).expect("protected with the session's key");
        assert_eq!(index as usize, i);
        assert!(is_compound(&packet[..len]));
    }
}

#[test]
fn an_own_report_looped_back_is_ignored_and_a_collision_moves_us() {
    let mut session = Session::new(clear(), START);
    session.on_rtcp(START, &write_report(0xaaaa_0001, None, "me", false));
    assert_eq!(session.snapshot().own_ssrc, 0xaaaa_0001);
    session.on_rtcp(START, &write_report(0xaaaa_0001, None, "not me", false));
    assert_ne!(session.snapshot().own_ssrc, 0xaaaa_0001);
}

#[test]
fn the_senders_bye_is_shown_until_media_comes_again() {
    let (mut session, mut now) = (Session::new(clear(), START), START);
    feed(&mut session, &mut now, 0..10, None);
    session.on_rtcp(now, &sender_compound(sr(1), true));
    assert!(session.source_left());
    feed(&mut session, &mut now, 10..12, None);
    assert!(!session.source_left());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn losses_doubles_and_disorder_are_counted_exactly_over_wraps(
        first in prop_oneof![Just(0xff80u64), Just(0xff80u64 + (7 << 16)), 0u64..1 << 20],
        fate in proptest::collection::vec((0u64..3, 0u64..40, 0u64..40), 10..300),
        protected in any::<bool>(),
    ) {
        let key = protected.then(key);
        let mut settings = Settings { key: key.clone(), ssrc: Some(SSRC), roc: Some((first >> 16) as u32), ..clear() };
        settings.limits.settle = 0;
        let (mut session, mut now) = (Session::new(settings, START), START);
        let mut events = Vec::new();
        for (i, &(copies, delay, again)) in fate.iter().enumerate() {
            let (at, index) = (i as u64, first + 1 + i as u64);
            for copy in 0..copies {
                events.push((at + delay + again * copy, index));
            }
        }
        events.sort_by_key(|&(at, _)| at);
        let indices: Vec<u64> = std::iter::once(first).chain(events.into_iter().map(|(_, index)| index)).collect();
        let mut out = feed(&mut session, &mut now, indices.iter().copied(), key.as_ref());
        session.leave(now);
        out.extend(drain(&mut session));
        let mut expected = indices.clone();
        expected.sort_unstable();
        expected.dedup();
        let counts = session.snapshot().counts;
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(counts.received, expected.len() as u64);
        prop_assert_eq!(counts.duplicate, (indices.len() - expected.len()) as u64);
        let highest = expected.last().copied().unwrap_or(first);
        prop_assert_eq!(counts.lost, highest - first + 1 - expected.len() as u64);
        let mut top = 0;
        let mut seen = std::collections::HashSet::new();
        let behind = indices.iter().filter(|&&i| { let b = i < top && seen.insert(i); seen.insert(i); top = top.max(i); b });
        prop_assert_eq!(counts.reordered, behind.count() as u64);
    }

    #[test]
    fn no_datagrams_make_the_session_panic(
        protected in any::<bool>(),
        told in any::<bool>(),
        datagrams in proptest::collection::vec(
            (any::<bool>(), 0u64..3 * S, proptest::collection::vec(any::<u8>(), 0..80), 0u8..8, any::<u16>()), 1..100),
    ) {
        let mut settings = if protected { keyed() } else { clear() };
        settings.roc = Some(0);
        settings.ssrc = told.then_some(SSRC);
        let (mut session, mut now) = (Session::new(settings, START), START);
        for (is_rtcp, step, mut bytes, shape, sequence) in datagrams {
            now += step;
            if shape > 1 && bytes.len() > 12 {
                let good = packet(sequence, 0, SSRC, &[]);
                bytes[..12].copy_from_slice(&good);
            }
            if shape == 7 {
                bytes = rtp(u64::from(sequence), protected.then(key).as_ref());
            }
            if is_rtcp { session.on_rtcp(now, &bytes) } else { session.on_rtp(now, &bytes) }
            session.poll(now);
        }
        session.leave(now);
        while session.take_media().is_some() || session.take_rtcp().is_some() {}
        let counts = session.snapshot().counts;
        prop_assert!(counts.received <= 100);
    }
}
