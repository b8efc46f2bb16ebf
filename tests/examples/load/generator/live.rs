//! Sending by the kernel itself: a BPF program is run on frames that are then sent (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18).

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp},
};
use sender_common::flood::Plan;

use super::traffic::Traffic;

/// As many frames the kernel makes at once.
const BATCH: u32 = 64;
/// A run costs some twenty milliseconds to set up and to end.
const RUN: u64 = 1 << 18;

/// The program, and the interface it sends from.
pub(super) struct Live {
    ebpf: Ebpf,
    plan: Array<MapData, Plan>,
    index: u32,
}

impl Live {
    pub(super) fn open(index: u32) -> Result<Self> {
        ensure!(!sender::xdp::FLOOD.is_empty(), "this build has no XDP program in it; run `cargo xtask setup`");
        let mut ebpf = EbpfLoader::new().load(sender::xdp::FLOOD).context("loading the program that sends")?;
        let program: &mut Xdp = ebpf.program_mut("flood").context("the object has no program")?.try_into()?;
        program.load().context("loading the program that sends")?;
        let plan = Array::try_from(ebpf.take_map("PLAN").context("the object has no map")?)?;
        Ok(Self { ebpf, plan, index })
    }

    /// Sends up to `most` packets of one template, and says how many.
    pub(super) fn send(&mut self, traffic: &mut Traffic, most: u64) -> Result<u64> {
        let count = most.min(RUN);
        let (frame, mut plan) = traffic.run_of(count);
        // Where the run before left off: each run begins with other clients.
        plan.state = self.plan.get(&0, 0)?.state & plan.mask;
        self.plan.set(0, plan, 0)?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, self.index, 0, 0].map(u32::to_ne_bytes).concat();
        let program: &Xdp = self.ebpf.program("flood").context("the object has no program")?.try_into()?;
        program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                ctx_in: Some(&context),
                repeat: count as u32,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })
            .context("sending live frames: the interface must be up, and its driver must send XDP frames")?;
        Ok(count)
    }
}
