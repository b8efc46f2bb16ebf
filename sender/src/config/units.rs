//! Quantities with units: `"256MiB"`, `"2.5s"`, `"8Mb/s"`. Exact: nothing is rounded, what doesn't fit is refused.

use std::{fmt, str::FromStr, time::Duration};

use super::problem::Fault;

/// A size in bytes. Written `"256MiB"`, `"1.5GiB"`, `"64kB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(u64);

/// A rate in bits per second. Written `"8Mb/s"`, `"2.5Gb/s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BitRate(u64);

/// A span of time. Written `"2.5s"`, `"40ms"`, `"1min"`, `"1h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Nanos(u64);

/// Units, the largest first. The first spelling of a factor is the one that is written.
type Units = &'static [(&'static str, u64)];

const SIZES: Units = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];
const RATES: Units =
    &[("Tb/s", 1_000_000_000_000), ("Gb/s", 1_000_000_000), ("Mb/s", 1_000_000), ("kb/s", 1_000), ("b/s", 1)];
const TIMES: Units = &[
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

impl ByteSize {
    /// From a number of bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl BitRate {
    /// From bits per second.
    #[must_use]
    pub const fn from_bits_per_second(bits: u64) -> BitRate {
        BitRate(bits)
    }

    /// In bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl Nanos {
    /// From nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Nanos {
        Nanos(nanos)
    }

    /// In nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl FromStr for ByteSize {
    type Err = Fault;
    fn from_str(text: &str) -> Result<ByteSize, Fault> {
        parse(text, SIZES, "a size", "\"256MiB\" (B, kB, KiB, MB, MiB, GB, GiB, TB, TiB)").map(ByteSize)
    }
}

impl FromStr for BitRate {
    type Err = Fault;
    fn from_str(text: &str) -> Result<BitRate, Fault> {
        parse(text, RATES, "a bit rate", "\"8Mb/s\" (b/s, kb/s, Mb/s, Gb/s, Tb/s)").map(BitRate)
    }
}

impl FromStr for Nanos {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Nanos, Fault> {
        parse(text, TIMES, "a time", "\"2.5s\" (ns, us, ms, s, min, h)").map(Nanos)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exactly(f, self.0, SIZES)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exactly(f, self.0, RATES)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exactly(f, self.0, TIMES)
    }
}

/// `number unit`, with an optional fraction and optional blanks between, as whole base units.
fn parse(text: &str, units: Units, kind: &str, example: &str) -> Result<u64, Fault> {
    let refuse = |what: String| Fault::new(what, format!("write {kind} like {example}"));
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number.contains('.')) {
        return Err(refuse(format!("this isn't {kind}: it must begin with a number that isn't negative")));
    }
    let Some(&(_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(match unit {
            "" if number == "0" => return Ok(0),
            "" => refuse(format!("{kind} needs a unit")),
            _ => refuse(format!("{unit:?} is not a unit of {kind}{}", meant(unit, units))),
        });
    };
    let too_large = || refuse(format!("{kind} this large can't be held"));
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).unwrap_or(u32::MAX)).ok_or_else(too_large)?;
    let mantissa = format!("{whole}{fraction}").parse::<u128>().map_err(|_| too_large())?;
    let scaled = mantissa.checked_mul(u128::from(factor)).ok_or_else(too_large)?;
    if scaled % scale != 0 {
        let (base, _) = units[units.len() - 1];
        return Err(refuse(format!("this is no whole number of {base}")));
    }
    u64::try_from(scaled / scale).map_err(|_| too_large())
}

/// `, did you mean …` for a unit that is only spelt in the wrong case, or with the other word for per second.
fn meant(unit: &str, units: Units) -> String {
    let plain = |u: &str| u.to_ascii_lowercase().replace("bit", "b").replace("bps", "b/s");
    units
        .iter()
        .find(|(name, _)| plain(name) == plain(unit))
        .map_or_else(String::new, |(name, _)| format!(", did you mean {name:?}?"))
}

/// In the largest unit that holds the value without a fraction.
fn write_exactly(f: &mut fmt::Formatter<'_>, value: u64, units: Units) -> fmt::Result {
    let (name, factor) =
        units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)).unwrap_or(&units[units.len() - 1]);
    f.pad(&format!("{}{name}", value / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quantity_is_read_exactly() {
        for (text, bytes) in
            [("256MiB", 268_435_456), ("1.5GiB", 1_610_612_736), ("64 kB", 64_000), ("0", 0), ("0B", 0)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for (text, nanos) in [("2.5s", 2_500_000_000), ("1min", 60_000_000_000), ("0.25ms", 250_000), ("3µs", 3_000)] {
            assert_eq!(text.parse(), Ok(Nanos(nanos)), "{text}");
        }
        assert_eq!("2.5Gb/s".parse(), Ok(BitRate(2_500_000_000)));
    }

    #[test]
    fn a_wrong_quantity_is_refused_with_what_would_be_right() {
        for (text, what) in [
            ("256", "needs a unit"),
            ("-1MiB", "isn't negative"),
            ("MiB", "begin with a number"),
            ("1.2.3MiB", "begin with a number"),
            ("1.MiB", "begin with a number"),
            ("256mib", "did you mean \"MiB\"?"),
            ("3 parsecs", "\"parsecs\" is not a unit"),
            ("0.3B", "no whole number of B"),
            ("99999999999999TiB", "can't be held"),
            ("99999999999999999999999999999999999999999999B", "can't be held"),
            ("", "begin with a number"),
        ] {
            let fault = text.parse::<ByteSize>().expect_err(text);
            assert!(fault.what.contains(what), "{text}: {fault}");
            assert!(fault.remedy.contains("256MiB"), "{text}: {fault}");
        }
        assert!("8Mbps".parse::<BitRate>().unwrap_err().what.contains("did you mean \"Mb/s\"?"));
        assert!("8Mbit/s".parse::<BitRate>().unwrap_err().what.contains("did you mean \"Mb/s\"?"));
        assert!("5 sec".parse::<Nanos>().unwrap_err().remedy.contains("2.5s"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,40}", number in "[0-9.]{0,60}", unit in "[a-zA-Z/µ ]{0,5}") {
            for text in [text, format!("{number}{unit}")] {
                let _ = text.parse::<ByteSize>();
                let _ = text.parse::<BitRate>();
                let _ = text.parse::<Nanos>();
            }
        }

        #[test]
        fn what_is_written_is_read_back_the_same(value: u64) {
            prop_assert_eq!(ByteSize(value).to_string().parse(), Ok(ByteSize(value)));
            prop_assert_eq!(BitRate(value).to_string().parse(), Ok(BitRate(value)));
            prop_assert_eq!(Nanos(value).to_string().parse(), Ok(Nanos(value)));
        }
    }
}
