//! Any frame: the parser doesn't panic, and what is malformed tells of nobody.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sender_common::{Address, Change, Class, Hops, Reason, Report, Sink, TitleEntry, TitleId, inspect, membership::Query};

/// Everything is ours: all ports, all groups.
#[derive(Default)]
struct Everything {
    told: usize,
}

impl Sink for Everything {
    fn wants_port(&mut self, _: u16) -> bool {
        true
    }
    fn feedback(&mut self, port: u16) -> TitleEntry {
        TitleEntry::new(TitleId(port), port % 2 == 1, true)
    }
    fn group(&mut self, _: &Address, port: u16) -> TitleEntry {
        self.feedback(port)
    }
    fn is_front_door(&mut self, _: u16) -> bool {
        true
    }
    fn report(&mut self, _: &Report) -> Reason {
        self.told += 1;
        Reason::Report
    }
    fn change(&mut self, change: &Change) {
        assert!(change.group.is_group());
        self.told += 1;
    }
    fn query(&mut self, _: &Query) {}
    fn distance(&mut self, _: &Address, _: Hops) {}
    fn detail(&mut self, _: Reason, _: u64) {}
}

fuzz_target!(|frame: &[u8]| {
    let mut sink = Everything::default();
    let reason = inspect(frame, &mut sink);
    assert!(reason.class() != Class::Detail);
    assert!(reason.class() == Class::Valid || sink.told == 0);
});
