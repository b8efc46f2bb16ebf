//! Which frames are in flight, one bit each: a frame is posted again only after it came back, and a rebuild knows which
//! to hand back.

use super::port::FRAME_SIZE;

/// A set of frames, by the addresses where they start.
#[derive(Debug)]
pub(super) struct FrameSet(Box<[u64]>);

impl FrameSet {
    /// An empty set for a memory of so many frames.
    pub(super) fn new(frames: usize) -> FrameSet {
        FrameSet(vec![0; frames.div_ceil(64)].into_boxed_slice())
    }

    /// Word and bit of a frame.
    #[inline]
    fn place(frame: u64) -> (usize, u32) {
        let index = frame / FRAME_SIZE as u64;
        ((index / 64) as usize, (index % 64) as u32)
    }

    /// False also for frames that do not exist.
    #[inline]
    pub(super) fn contains(&self, frame: u64) -> bool {
        let (word, bit) = FrameSet::place(frame);
        self.0.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Puts a frame in; one that does not exist is left out.
    #[inline]
    pub(super) fn insert(&mut self, frame: u64) {
        let (word, bit) = FrameSet::place(frame);
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Takes a frame out.
    #[inline]
    pub(super) fn remove(&mut self, frame: u64) {
        let (word, bit) = FrameSet::place(frame);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !(1 << bit);
        }
    }

    /// Takes all frames out, lowest address first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter_mut().enumerate().flat_map(|(index, word)| {
            let mut rest = std::mem::take(word);
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(((index * 64 + bit) * FRAME_SIZE) as u64)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_set_holds_what_was_put_in_and_drains_to_nothing() {
        let mut set = FrameSet::new(130);
        for frame in [0, 1, 63, 64, 129, 1 << 40] {
            set.insert(frame * 2048);
        }
        set.remove(2048);
        assert!(set.contains(63 * 2048) && !set.contains(2048) && !set.contains(1 << 51));
        assert_eq!(set.drain().collect::<Vec<_>>(), [0, 63, 64, 129].map(|frame| frame * 2048));
        assert_eq!(set.drain().count(), 0);
    }
}
