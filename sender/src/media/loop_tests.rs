//! What must hold for every loop, over streams built by code.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::synthetic::{AUDIO_PID, Reading, Recipe, VIDEO_PID, read};
use super::{DueHint, Loop, Ticks};

const CLOCK: u64 = 1 << 33;

fn looped(recipe: &Recipe) -> Loop {
    Loop::from_bytes("synthetic", recipe.build()).unwrap()
}

fn pass_bytes(title: &Loop, pass: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut payload = [0; 1316];
    for n in 0..title.packets_per_pass() {
        let len = title.write_payload(pass, n, &mut payload);
        assert_eq!(len, title.payload_len(n));
        bytes.extend_from_slice(&payload[..len]);
    }
    bytes
}

fn reading(title: &Loop, pass: u64) -> Reading {
    read(&pass_bytes(title, pass))
}

fn recipes() -> impl Strategy<Value = Recipe> {
    (2u64..40, 6u64..60, 45_000..CLOCK, 0u64..50, any::<bool>()).prop_map(
        |(pictures, packets_per_picture, first_dts, tail, bare_pcr)| Recipe {
            pictures,
            packets_per_picture,
            first_dts,
            tail,
            bare_pcr,
        },
    )
}

/// Every stamp of `later` is that of `earlier` moved by exactly `passes` passes.
fn assert_shifted(title: &Loop, earlier: &Reading, later: &Reading, passes: u64) {
    let by = passes * title.duration().0;
    let shifted = |clock: u64| (clock + by) % (CLOCK * 300);
    let moved = |&(pid, stamp): &(u16, u64)| (pid, (stamp + by / 300) % CLOCK);
    let pcrs: Vec<_> = earlier.pcrs.iter().map(|&(at, pcr)| (at, shifted(pcr))).collect();
    assert_eq!(later.pcrs, pcrs);
    assert_eq!(later.opcrs, earlier.opcrs.iter().map(|&opcr| shifted(opcr)).collect::<Vec<_>>());
    assert_eq!(later.pts, earlier.pts.iter().map(moved).collect::<Vec<_>>());
    assert_eq!(later.dts, earlier.dts.iter().map(moved).collect::<Vec<_>>());
}

/// Counters of each PID grow by one with each packet that has payload, and stand still with others.
fn assert_counters_run_on(counters: impl Iterator<Item = (u16, u8, bool)>) {
    let mut last: BTreeMap<u16, u8> = BTreeMap::new();
    for (pid, counter, payload) in counters.filter(|&(pid, ..)| pid != 0x1fff) {
        if let Some(&before) = last.get(&pid) {
            assert_eq!(counter, (before + u8::from(payload)) % 16, "PID {pid:#x}");
        }
        last.insert(pid, counter);
    }
}

#[test]
fn pass_0_is_the_file() {
    let recipe = Recipe::default();
    assert_eq!(pass_bytes(&looped(&recipe), 0), recipe.build());
}

#[test]
fn a_pass_lasts_as_long_as_its_pictures() {
    let title = looped(&Recipe::default());
    assert_eq!(title.duration(), Ticks(50 * 3600 * 300));
    assert_eq!(title.packets_per_pass(), (50u64 * 20).div_ceil(7));
}

#[test]
fn a_little_stuffing_at_the_end_does_not_tear_a_gap_but_a_lot_is_kept() {
    // 20 packets take 40 ms: the last picture and its stuffing lie after the last PCR.
    let little = looped(&Recipe { tail: 10, ..Recipe::default() });
    assert_eq!(little.duration(), Ticks(50 * 3600 * 300));
    let much = looped(&Recipe { tail: 100, ..Recipe::default() });
    let added = much.duration().0 - 50 * 3600 * 300;
    assert!((190..=210).contains(&(added / 27_000)), "100 packets last 200 ms: {added}");
}

#[test]
fn stamps_of_90_khz_wrap_within_the_file_and_between_passes() {
    // Begins 5 pictures before the wrap: of the PCR first, then of PTS and DTS.
    let recipe = Recipe { first_dts: CLOCK - 5 * 3600, ..Recipe::default() };
    let title = looped(&recipe);
    let first = reading(&title, 0);
    assert!(first.dts.iter().any(|&(_, dts)| dts > CLOCK / 2) && first.dts.iter().any(|&(_, dts)| dts < CLOCK / 2));
    assert_eq!(title.duration(), Ticks(recipe.span() * 300));
    let wrapping = (CLOCK / recipe.span()) - 1;
    for pass in [1, 2, wrapping, wrapping + 1, wrapping + 2, 1 << 40] {
        let by = ((u128::from(pass) * u128::from(title.duration().0)) % u128::from(CLOCK * 300)) as u64;
        let later = reading(&title, pass);
        for (before, after) in first.pcrs.iter().zip(&later.pcrs) {
            assert_eq!(after.1, (before.1 + by) % (CLOCK * 300), "pass {pass}");
        }
        assert_shifted(&title, &later, &reading(&title, pass + 1), 1);
    }
}

#[test]
fn an_opcr_moves_like_the_pcr() {
    let title = looped(&Recipe { bare_pcr: true, ..Recipe::default() });
    let first = reading(&title, 0);
    assert_eq!(first.opcrs.len(), 50);
    assert_shifted(&title, &first, &reading(&title, 3), 3);
}

#[test]
fn dts_go_on_with_the_same_step_over_the_loop_point() {
    let title = looped(&Recipe { first_dts: CLOCK - 120_000, ..Recipe::default() });
    let passes: Vec<Reading> = (0..4).map(|pass| reading(&title, pass)).collect();
    for pid in [VIDEO_PID, AUDIO_PID] {
        let dts: Vec<u64> =
            passes.iter().flat_map(|pass| &pass.dts).filter(|&&(of, _)| of == pid).map(|&(_, dts)| dts).collect();
        assert_eq!(dts.len(), 4 * 50);
        assert!(dts.windows(2).all(|pair| (pair[1] + CLOCK - pair[0]) % CLOCK == 3600), "PID {pid:#x}");
    }
}

#[test]
fn null_packets_are_kept_as_they_are() {
    let title = looped(&Recipe { tail: 30, ..Recipe::default() });
    let nulls = |pass| pass_bytes(&title, pass).chunks(188).filter(|packet| packet[1..3] == [0x1f, 0xff]).count();
    assert!(nulls(0) > 100);
    assert_eq!(nulls(0), nulls(7));
    let untouched = |pass| {
        let bytes = pass_bytes(&title, pass);
        bytes.chunks(188).filter(|packet| packet[1..3] == [0x1f, 0xff]).all(|packet| packet[3..] == bytes_of_a_null())
    };
    assert!(untouched(0) && untouched(7));
}

fn bytes_of_a_null() -> Vec<u8> {
    [&[0x10][..], &[0xff; 184]].concat()
}

#[test]
#[should_panic(expected = "packet 143 of 143")]
fn a_packet_beyond_the_pass_is_refused() {
    let title = looped(&Recipe::default());
    title.due(title.packets_per_pass(), &mut DueHint::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn from_pass_to_pass_every_stamp_moves_by_exactly_l(recipe in recipes(), pass in 0u64..1 << 30) {
        let title = looped(&recipe);
        prop_assert_eq!(title.duration().0 % 300, 0);
        prop_assert!(title.duration().0 >= recipe.span() * 300);
        assert_shifted(&title, &reading(&title, pass), &reading(&title, pass + 1), 1);
    }

    #[test]
    fn counters_run_on_over_the_loop_point(recipe in recipes(), pass in 0u64..1 << 40) {
        let title = looped(&recipe);
        let passes: Vec<Reading> = (pass..pass + 3).map(|pass| reading(&title, pass)).collect();
        assert_counters_run_on(passes.iter().flat_map(|pass| pass.counters.iter().copied()));
    }

    #[test]
    fn the_clock_of_the_programme_never_stands_or_falls(recipe in recipes(), pass in 0u64..1 << 30) {
        let title = looped(&recipe);
        let pcrs = [reading(&title, pass).pcrs, reading(&title, pass + 1).pcrs].concat();
        for pair in pcrs.windows(2) {
            let step = (pair[1].1 + CLOCK * 300 - pair[0].1) % (CLOCK * 300);
            prop_assert!(step > 0 && step < Ticks::PER_SECOND * 3, "{}", step);
        }
    }

    #[test]
    fn unstamping_gives_the_file_back(recipe in recipes(), pass in any::<u64>()) {
        let title = looped(&recipe);
        let mut payload = [0; 1316];
        let mut file = Vec::new();
        for n in 0..title.packets_per_pass() {
            let len = title.write_payload(pass, n, &mut payload);
            title.unstamp(pass, &mut payload[..len]);
            file.extend_from_slice(&payload[..len]);
        }
        prop_assert!(file == recipe.build());
    }

    #[test]
    fn due_times_never_fall_and_stay_below_l(recipe in recipes()) {
        let title = looped(&recipe);
        let (mut hint, mut last) = (DueHint::default(), Ticks(0));
        for n in 0..title.packets_per_pass() {
            let due = title.due(n, &mut hint);
            prop_assert!(due >= last && due < title.duration());
            prop_assert_eq!(due, title.due(n, &mut DueHint::default()));
            prop_assert_eq!(due, title.due_at(n));
            last = due;
        }
        prop_assert_eq!(title.due(0, &mut hint), Ticks(0));
    }

    #[test]
    fn any_bytes_give_a_loop_or_an_error_but_no_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..6000),
        sync in any::<bool>(),
        recipe in recipes(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        if sync {
            bytes.truncate(bytes.len() / 188 * 188);
            bytes.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        }
        let _ = Loop::from_bytes("noise", bytes);
        let mut bytes = recipe.build();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(title) = Loop::from_bytes("damaged", bytes) {
            let _ = pass_bytes(&title, 12_345);
            for n in 0..title.packets_per_pass() {
                prop_assert!(title.due_at(n) < title.duration());
            }
        }
    }
}
