//! Any datagram taken for an RTCP compound: no panic, and the walk says the same in whatever frame it lies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sender_common::{packet::Span, rtcp};

fuzz_target!(|compound: &[u8]| {
    let alone = rtcp::walk(compound, Span { at: 0, end: compound.len() }, 7);
    let mut framed = vec![0xff; 42];
    framed.extend(compound);
    framed.extend([0x80; 8]);
    let within = rtcp::walk(&framed[..], Span { at: 42, end: 42 + compound.len() }, 7);
    assert_eq!(alone, within);
});
