//! When each packet of a pass is due: PCRs as anchors, a constant rate between them.

/// Transport packet number `packet` is due at `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::media) struct Anchor {
    pub(super) packet: u64,
    /// Ticks of 27 MHz.
    pub(super) time: u64,
}

/// Two neighbouring anchors, between which the rate is constant.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::media) struct Segment {
    from: Anchor,
    to: Anchor,
    at: u32,
}

/// Due times of the transport packets of a pass. One anchor a PCR; memory does not depend on the number of packets, but for
/// the coarse index.
pub(in crate::media) struct Timeline {
    /// From packet 0 at time 0 to the end, where the packet after the last one would be.
    anchors: Vec<Anchor>,
    /// For each `STRIDE` packets, the anchor at or before the first of them: look-up without a search over the whole.
    coarse: Vec<u32>,
}

const STRIDE: u64 = 512;

impl Timeline {
    /// `anchors` begin with packet 0 and end with the packet after the last one.
    pub(super) fn new(anchors: Vec<Anchor>) -> Timeline {
        debug_assert!(anchors.first() == Some(&Anchor { packet: 0, time: 0 }));
        debug_assert!(anchors.is_sorted_by(|a, b| a.packet < b.packet && a.time <= b.time));
        let end = anchors.last().map_or(0, |anchor| anchor.packet);
        let mut at = 0;
        let coarse = (0..end).step_by(STRIDE as usize).map(|packet| {
            while anchors[at + 1].packet <= packet {
                at += 1;
            }
            at as u32
        });
        Timeline { coarse: coarse.collect(), anchors }
    }

    /// When a packet is due in the pass.
    ///
    /// # Panics
    /// If there is no such packet.
    #[inline]
    pub(in crate::media) fn due(&self, packet: u64) -> u64 {
        self.due_from(packet, self.coarse[(packet / STRIDE) as usize] as usize).0
    }

    /// The same for one that probably lies in the segment that was left in `segment` the last time: then the table of
    /// anchors, cold memory for whoever has many cursors, isn't touched.
    #[inline]
    pub(in crate::media) fn due_near(&self, packet: u64, segment: &mut Segment) -> u64 {
        let Segment { from, to, at } = *segment;
        if from.packet <= packet && packet < to.packet {
            return from.time + ticks(from, to, packet - from.packet);
        }
        let near = |anchor: &Anchor| anchor.packet <= packet && packet < anchor.packet + STRIDE;
        let at = at as usize;
        let start =
            if self.anchors.get(at).is_some_and(near) { at } else { self.coarse[(packet / STRIDE) as usize] as usize };
        let (due, at) = self.due_from(packet, start);
        *segment = Segment { from: self.anchors[at], to: self.anchors[at + 1], at: at as u32 };
        due
    }

    #[inline]
    fn due_from(&self, packet: u64, mut at: usize) -> (u64, usize) {
        // Ends: the last anchor lies behind every packet.
        while self.anchors[at + 1].packet <= packet {
            at += 1;
        }
        let (from, to) = (self.anchors[at], self.anchors[at + 1]);
        (from.time + ticks(from, to, packet - from.packet), at)
    }
}

/// How long `packets` packets last at the rate between two anchors.
#[inline]
pub(super) fn ticks(from: Anchor, to: Anchor, packets: u64) -> u64 {
    let (ticks, span) = (to.time - from.time, to.packet - from.packet);
    // Both are far below 2^32, unless a file lacks PCRs for hours.
    match packets.checked_mul(ticks) {
        Some(product) => product / span,
        None => (u128::from(packets) * u128::from(ticks) / u128::from(span)) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn anchor(packet: u64, time: u64) -> Anchor {
        Anchor { packet, time }
    }

    #[test]
    fn the_rate_is_constant_between_anchors() {
        let timeline = Timeline::new(vec![anchor(0, 0), anchor(20, 100), anchor(30, 120), anchor(40, 120)]);
        let due: Vec<u64> = [0, 5, 20, 25, 29, 30, 39].map(|packet| timeline.due(packet)).to_vec();
        assert_eq!(due, [0, 25, 100, 110, 118, 120, 120]);
    }

    fn anchors() -> impl Strategy<Value = Vec<Anchor>> {
        proptest::collection::vec((1u64..3000, 0u64..3_000_000), 1..60).prop_map(|steps| {
            let mut anchors = vec![anchor(0, 0)];
            for (packets, ticks) in steps {
                let last = anchors[anchors.len() - 1];
                anchors.push(anchor(last.packet + packets, last.time + ticks));
            }
            anchors
        })
    }

    proptest! {
        #[test]
        fn due_times_never_fall_whatever_the_hint(anchors in anchors()) {
            let timeline = Timeline::new(anchors.clone());
            let end = anchors[anchors.len() - 1];
            let (mut last, mut hint) = (0, Segment::default());
            for packet in 0..end.packet {
                let due = timeline.due(packet);
                prop_assert!(due >= last && due <= end.time);
                last = due;
                prop_assert_eq!(timeline.due_near(packet, &mut hint), due);
                let at = (packet * 31) as u32 % (anchors.len() as u32 + 3);
                let mut wild = Segment { at, ..Segment::default() };
                prop_assert_eq!(timeline.due_near(packet, &mut wild), due);
            }
            for anchor in &anchors[..anchors.len() - 1] {
                prop_assert_eq!(timeline.due(anchor.packet), anchor.time);
            }
        }
    }
}
