//! Media time.

/// Media time in ticks of the MPEG-2 system clock: 27 MHz. A 90 kHz clock has 300 of them to the tick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Ticks in a second.
    pub const PER_SECOND: u64 = 27_000_000;
    /// Ticks of 27 MHz in a tick of 90 kHz.
    pub const PER_90KHZ: u64 = 300;

    /// In nanoseconds, rounded down; exact for whole microseconds.
    pub const fn to_nanos(self) -> u64 {
        self.0 / 27 * 1000 + self.0 % 27 * 1000 / 27
    }

    /// The last tick that is not after this many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Ticks {
        Ticks(nanos / 1000 * 27 + nanos % 1000 * 27 / 1000)
    }

    /// In ticks of an RTP clock of `clock_rate` hertz, rounded down.
    pub const fn to_rtp(self, clock_rate: u32) -> u64 {
        let rate = clock_rate as u64;
        self.0 / Self::PER_SECOND * rate + self.0 % Self::PER_SECOND * rate / Self::PER_SECOND
    }

    /// In seconds, for people.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / Self::PER_SECOND as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_is_a_second_in_every_clock() {
        let second = Ticks(Ticks::PER_SECOND);
        assert_eq!(second.to_nanos(), 1_000_000_000);
        assert_eq!(second.to_rtp(90_000), 90_000);
        assert_eq!(second.to_rtp(48_000), 48_000);
        assert_eq!(Ticks::from_nanos(1_000_000_000), second);
    }

    proptest! {
        #[test]
        fn nanoseconds_are_right_to_one(ticks in 0u64..1 << 50) {
            let exact = u128::from(ticks) * 1_000_000_000 / 27_000_000;
            prop_assert_eq!(u128::from(Ticks(ticks).to_nanos()), exact);
            prop_assert_eq!(Ticks(ticks).to_rtp(90_000), ticks / 300);
        }
    }
}
