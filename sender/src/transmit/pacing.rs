//! How late packets leave: a histogram cheap enough to be fed with every packet.

/// Eight buckets per power of two: quantiles are right within 12.5 %.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = SUB * 40;

/// Lateness of departures against plan, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Pacing {
    buckets: Box<[u64; BUCKETS]>,
    max: u64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), max: 0 }
    }
}

impl Pacing {
    /// Counts one departure `nanos` after its plan.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.max = self.max.max(nanos);
    }

    /// Takes over another histogram's figures without allocating.
    pub fn copy_from(&mut self, other: &Self) {
        self.buckets.copy_from_slice(&other.buckets[..]);
        self.max = other.max;
    }

    /// Adds another histogram's figures to this one's.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *mine += theirs;
        }
        self.max = self.max.max(other.max);
    }

    /// Number of departures counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The greatest lateness seen, in nanoseconds.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The lateness in nanoseconds that the fraction `q` (0…1) of departures keeps; 0 if there were none.
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = (self.count() as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return upper_edge(index).min(self.max);
            }
        }
        0
    }
}

#[inline]
fn bucket(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2();
    let index = if exponent < SUB_BITS {
        nanos as usize
    } else {
        let sub = (nanos >> (exponent - SUB_BITS)) as usize & (SUB - 1);
        (exponent - SUB_BITS + 1) as usize * SUB + sub
    };
    index.min(BUCKETS - 1)
}

/// The greatest value that falls into bucket `index`.
fn upper_edge(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    let shift = (index / SUB - 1) as u32;
    (((SUB + index % SUB + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_set_are_right_within_a_bucket() {
        let mut pacing = Pacing::default();
        (1..=1000u64).for_each(|micros| pacing.record(micros * 1000));
        assert_eq!(pacing.count(), 1000);
        assert_eq!(pacing.max(), 1_000_000);
        let median = pacing.quantile(0.5);
        assert!((500_000..563_000).contains(&median), "{median}");
        assert_eq!(pacing.quantile(1.0), 1_000_000);
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Pacing::default().quantile(0.5), 0);
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(nanos in 0u64..1 << 42) {
            let index = bucket(nanos);
            prop_assert!(nanos <= upper_edge(index));
            prop_assert!(index == 0 || nanos > upper_edge(index - 1));
        }
    }
}
