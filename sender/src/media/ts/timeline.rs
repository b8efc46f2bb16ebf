//! When each packet of a pass is due: PCRs as anchors, a constant rate between them.

/// Transport packet number `packet` is due at `time`, counted from the first PCR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Anchor {
    pub(super) packet: u64,
    /// Ticks of 27 MHz.
    pub(super) time: u64,
}

/// Due times of the transport packets of a pass. One anchor a PCR; memory does not depend on the number of packets, but for
/// the coarse index.
pub(in crate::media) struct Timeline {
    anchors: Vec<Anchor>,
    /// For each `STRIDE` packets, the segment in which the first of them lies: look-up without a search over the whole.
    coarse: Vec<u32>,
    /// Time of the first packet, before the first PCR, at the first rate: what `time` 0 of an anchor is in the pass.
    lead: u64,
}

const STRIDE: u64 = 512;

impl Timeline {
    /// # Panics
    /// If there are not two anchors with rising packet numbers and times.
    pub(super) fn new(anchors: Vec<Anchor>, packets: u64) -> Timeline {
        assert!(anchors.len() >= 2, "a rate needs two PCRs");
        debug_assert!(anchors.is_sorted_by(|a, b| a.packet < b.packet && a.time < b.time));
        let rate = Segment { from: anchors[0], to: anchors[1] };
        let lead = rate.ticks(anchors[0].packet);
        let mut coarse = Vec::with_capacity((packets / STRIDE + 1) as usize);
        let mut segment = 0;
        for packet in (0..packets).step_by(STRIDE as usize) {
            while segment + 2 < anchors.len() && anchors[segment + 1].packet <= packet {
                segment += 1;
            }
            coarse.push(segment as u32);
        }
        Timeline { anchors, coarse, lead }
    }

    /// How long `packets` packets last, the tail after the last PCR at the last rate.
    pub(super) fn duration(&self, packets: u64) -> u64 {
        let segment = self.segment(self.anchors.len() - 2);
        self.lead + segment.to.time + segment.ticks(packets - segment.to.packet)
    }

    /// When a packet is due in the pass.
    #[inline]
    pub(in crate::media) fn due(&self, packet: u64) -> u64 {
        self.due_from(packet, self.coarse[(packet / STRIDE) as usize] as usize).0
    }

    /// The same for one that is probably in the segment `hint` or soon after it; also says which segment it was.
    #[inline]
    pub(in crate::media) fn due_near(&self, packet: u64, hint: usize) -> (u64, usize) {
        let near = self.anchors.get(hint).is_some_and(|anchor| anchor.packet <= packet && packet < anchor.packet + STRIDE);
        if near { self.due_from(packet, hint) } else { self.due_from(packet, self.coarse[(packet / STRIDE) as usize] as usize) }
    }

    #[inline]
    fn due_from(&self, packet: u64, mut index: usize) -> (u64, usize) {
        while index + 2 < self.anchors.len() && self.anchors[index + 1].packet <= packet {
            index += 1;
        }
        let segment = self.segment(index.min(self.anchors.len() - 2));
        let from = segment.from;
        let time = match packet.checked_sub(from.packet) {
            Some(after) => self.lead + from.time + segment.ticks(after),
            None => self.lead - segment.ticks(from.packet - packet),
        };
        (time, index)
    }

    fn segment(&self, index: usize) -> Segment {
        Segment { from: self.anchors[index], to: self.anchors[index + 1] }
    }
}

/// The stretch between two PCRs.
struct Segment {
    from: Anchor,
    to: Anchor,
}

impl Segment {
    /// How long `packets` packets last at the segment's rate.
    #[inline]
    fn ticks(&self, packets: u64) -> u64 {
        let (ticks, span) = (self.to.time - self.from.time, self.to.packet - self.from.packet);
        // Both are far below 2^32 in any file that scan() lets pass, unless one lacks PCRs for hours.
        match packets.checked_mul(ticks) {
            Some(product) => product / span,
            None => (u128::from(packets) * u128::from(ticks) / u128::from(span)) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rate_is_constant_between_pcrs_and_goes_on_before_and_after() {
        let anchors = vec![Anchor { packet: 10, time: 0 }, Anchor { packet: 20, time: 100 }, Anchor { packet: 30, time: 120 }];
        let timeline = Timeline::new(anchors, 40);
        let due: Vec<u64> = [0, 5, 10, 15, 20, 25, 30, 39].map(|packet| timeline.due(packet)).to_vec();
        assert_eq!(due, [0, 50, 100, 150, 200, 210, 220, 238]);
        assert_eq!(timeline.duration(40), 240);
    }

    fn timelines() -> impl Strategy<Value = (Vec<Anchor>, u64)> {
        let steps = proptest::collection::vec((1u64..3000, 1u64..3_000_000), 1..60);
        (0u64..2000, steps, 1u64..3000).prop_map(|(first, steps, tail)| {
            let mut anchors = vec![Anchor { packet: first, time: 0 }];
            for (packets, ticks) in steps {
                let last = anchors[anchors.len() - 1];
                anchors.push(Anchor { packet: last.packet + packets, time: last.time + ticks });
            }
            let packets = anchors[anchors.len() - 1].packet + tail;
            (anchors, packets)
        })
    }

    proptest! {
        #[test]
        fn due_times_never_fall_and_stay_within_the_pass((anchors, packets) in timelines()) {
            let timeline = Timeline::new(anchors.clone(), packets);
            let (mut last, mut hint) = (0, 0);
            for packet in 0..packets {
                let due = timeline.due(packet);
                prop_assert!(due >= last);
                last = due;
                let (near, segment) = timeline.due_near(packet, hint);
                prop_assert_eq!(near, due);
                hint = segment;
                let (wild, _) = timeline.due_near(packet, (packet * 31) as usize % (anchors.len() + 3));
                prop_assert_eq!(wild, due);
            }
            prop_assert!(last <= timeline.duration(packets));
            for anchor in &anchors {
                prop_assert_eq!(timeline.due(anchor.packet), timeline.lead + anchor.time);
            }
        }
    }
}
