//! Sees a ring that stands still: frames are outstanding and none completes.

use super::time::Time;

/// Without a completion for so long, the ring counts as standing still.
const STALL: u64 = 200_000_000;
/// Standing still for so long, the socket is rebuilt; and again after each such time that brings nothing.
const REBUILD: u64 = 2_000_000_000;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    None,
    Kick,
    Rebuild,
}

/// When something last moved.
pub(super) struct Watchdog {
    moved: Time,
    kicked: Time,
}

impl Watchdog {
    pub(super) fn new(now: Time) -> Self {
        Self { moved: now, kicked: now }
    }

    /// To be asked once a turn: did frames complete since the last one, and are there any still to complete?
    pub(super) fn look(&mut self, now: Time, moved: bool, outstanding: bool) -> Remedy {
        if moved || !outstanding {
            self.moved = now;
            self.kicked = now;
            return Remedy::None;
        }
        if now.since(self.moved) >= REBUILD {
            self.moved = now;
            self.kicked = now;
            return Remedy::Rebuild;
        }
        if now.since(self.kicked) >= STALL {
            self.kicked = now;
            return Remedy::Kick;
        }
        Remedy::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_ring_that_stands_still_is_kicked_and_then_rebuilt() {
        let mut watchdog = Watchdog::new(at(0));
        assert_eq!(watchdog.look(at(199), false, true), Remedy::None);
        assert_eq!(watchdog.look(at(200), false, true), Remedy::Kick);
        assert_eq!(watchdog.look(at(250), false, true), Remedy::None);
        assert_eq!(watchdog.look(at(400), false, true), Remedy::Kick);
        assert_eq!(watchdog.look(at(2000), false, true), Remedy::Rebuild);
        assert_eq!(watchdog.look(at(2001), false, true), Remedy::None);
        assert_eq!(watchdog.look(at(4000), false, true), Remedy::Rebuild);
    }

    #[test]
    fn a_ring_that_moves_or_is_empty_is_left_alone() {
        let mut watchdog = Watchdog::new(at(0));
        assert_eq!(watchdog.look(at(3000), true, true), Remedy::None);
        assert_eq!(watchdog.look(at(6000), false, false), Remedy::None);
        assert_eq!(watchdog.look(at(6100), false, true), Remedy::None);
    }
}
