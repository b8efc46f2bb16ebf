//! aya may copy these types to and from maps as plain octets.
#![expect(unsafe_code, reason = "aya::Pod is an unsafe marker trait")]

use crate::{
    event::Event,
    flood::Plan,
    layout::{
        Address, Counters, Distance, Expected, GroupState, Querier, Receiver, ReceiverKey, Settings, TitleEntry,
        TitleStats, Tokens,
    },
};

macro_rules! pod {
    ($($name:ident $size:literal),+ $(,)?) => {
        $(
            const _: () = assert!(size_of::<$name>() == $size);
            // SAFETY: `repr(C)`, only integers and arrays of them, and the size asserted above is the sum of the fields':
            // no padding, and every bit pattern is a value.
            unsafe impl aya::Pod for $name {}
        )+
    };
}

pod! {
    Address 16, TitleEntry 4, Counters 1040, Settings 16, ReceiverKey 24, Receiver 56, Expected 8,
    TitleStats 160, GroupState 40, Distance 16, Querier 40, Tokens 16, Event 56, Plan 24,
}
