//! When how many packets are due.

use std::time::Duration;

/// Rates one after the other, each for an equal part of the time.
pub(super) struct Pace {
    rates: Vec<u64>,
    step: Duration,
    /// The step that runs, and what was sent in it.
    current: (usize, u64),
    asked: u64,
    behind: u64,
}

impl Pace {
    pub(super) fn new(rates: Vec<u64>, time: Duration) -> Self {
        let step = time / rates.len() as u32;
        Self { rates, step, current: (0, 0), asked: 0, behind: 0 }
    }

    /// How many packets are due now; `None` when the time is over.
    pub(super) fn due(&mut self, now: Duration) -> Option<u64> {
        let at = (now.as_nanos() / self.step.as_nanos().max(1)) as usize;
        if at != self.current.0 {
            let behind = self.due_in_step(self.step);
            self.asked += self.current.1.saturating_add(behind);
            self.behind += behind;
            self.current = (at, 0);
        }
        if at >= self.rates.len() { None } else { Some(self.due_in_step(now - self.step * at as u32)) }
    }

    fn due_in_step(&self, elapsed: Duration) -> u64 {
        match self.rates.get(self.current.0) {
            // Never behind: there was no promise.
            Some(&u64::MAX) if elapsed == self.step => 0,
            Some(&u64::MAX) => u64::MAX,
            Some(&rate) => {
                ((elapsed.as_nanos() * u128::from(rate) / 1_000_000_000) as u64).saturating_sub(self.current.1)
            }
            None => 0,
        }
    }

    pub(super) fn sent(&mut self, count: u64) {
        self.current.1 += count;
    }

    /// How many packets fewer than asked for were sent, if the machine could not keep up: what was due in the last moment of
    /// a step doesn't count.
    pub(super) fn behind(&self) -> u64 {
        if self.behind * 100 > self.asked { self.behind } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_owes_its_own_rate_only() {
        let mut pace = Pace::new(vec![1000, u64::MAX, 10], Duration::from_secs(6));
        assert_eq!(pace.due(Duration::from_secs(1)), Some(1000));
        pace.sent(900);
        assert_eq!(pace.due(Duration::from_millis(1500)), Some(600));
        assert_eq!(pace.due(Duration::from_secs(2)), Some(u64::MAX));
        assert_eq!(pace.due(Duration::from_secs(4)), Some(0));
        assert_eq!(pace.due(Duration::from_secs(6)), None);
        assert_eq!(pace.behind(), 1100 + 20);
    }
}
