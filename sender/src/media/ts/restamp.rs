//! Moving a packet to another pass: clocks by pass × L, continuity counters by pass × (packets of the PID in a pass).

use super::packet::{CLOCK_MASK, PACKET_LEN, TsPacket, clock_base, set_clock_base, set_stamp, stamp};

/// What has to be known of each PID, one byte each: 8 KiB, of which a stream touches a few cache lines.
pub(in crate::media) struct PidTable(Box<[u8; 0x2000]>);

const CARRIES_PES: u8 = 0x10;
const STEP: u8 = 0x0f;

impl PidTable {
    pub(super) fn new() -> PidTable {
        PidTable(Box::new([0; 0x2000]))
    }

    /// By how much the PID's continuity counter moves on in one pass, and whether it carries PES packets.
    pub(super) fn set(&mut self, pid: u16, step: u8, carries_pes: bool) {
        self.0[usize::from(pid & 0x1fff)] = step & STEP | if carries_pes { CARRIES_PES } else { 0 };
    }

    fn get(&self, pid: u16) -> u8 {
        self.0[usize::from(pid & 0x1fff)]
    }
}

/// How far from pass 0.
#[derive(Clone, Copy)]
pub(in crate::media) struct Shift {
    /// In ticks of 90 kHz, modulo 2^33.
    clock: u64,
    /// Passes modulo 16: continuity counters have four bits.
    passes: u8,
}

impl Shift {
    /// To `pass`, where one pass lasts `pass_90khz` ticks of 90 kHz.
    pub(in crate::media) fn to_pass(pass: u64, pass_90khz: u64) -> Shift {
        Shift { clock: pass.wrapping_mul(pass_90khz) & CLOCK_MASK, passes: (pass & 0x0f) as u8 }
    }

    /// Back again.
    pub(in crate::media) fn back(self) -> Shift {
        Shift { clock: self.clock.wrapping_neg() & CLOCK_MASK, passes: self.passes.wrapping_neg() & 0x0f }
    }
}

/// Restamps one packet in place.
#[inline]
pub(in crate::media) fn restamp(packet: &mut [u8; PACKET_LEN], pids: &PidTable, shift: Shift) {
    let view = TsPacket(packet);
    let pid = pids.get(view.pid());
    let (unit_start, adaptation) = (view.unit_start(), view.has_adaptation());
    let counter = view.continuity().wrapping_add(shift.passes.wrapping_mul(pid & STEP)) & 0x0f;
    packet[3] = packet[3] & 0xf0 | counter;
    if adaptation && packet[4] != 0 && packet[5] & 0x18 != 0 {
        shift_clocks(packet, shift.clock);
    }
    if unit_start && pid & CARRIES_PES != 0 {
        shift_stamps(packet, shift.clock);
    }
}

fn shift_clocks(packet: &mut [u8; PACKET_LEN], by: u64) {
    for at in TsPacket(packet).clocks().into_iter().flatten() {
        let field = packet[at..].first_chunk_mut().expect("clocks() keeps within the packet");
        set_clock_base(field, clock_base(field).wrapping_add(by) & CLOCK_MASK);
    }
}

fn shift_stamps(packet: &mut [u8; PACKET_LEN], by: u64) {
    let stamps = TsPacket(packet).stamps();
    for range in [stamps.pts, stamps.dts].into_iter().flatten() {
        let field = packet[range].first_chunk_mut().expect("stamps() gives five bytes");
        set_stamp(field, stamp(field).wrapping_add(by) & CLOCK_MASK);
    }
}
