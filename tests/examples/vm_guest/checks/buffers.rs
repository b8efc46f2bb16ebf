//! How many packets the kernel copied into socket buffers of its own, by its own count.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// Every socket buffer that has done its work passes here, a driver's after sending too; zero-copy has none.
const EVENT: &str = "/sys/kernel/tracing/events/skb/consume_skb";
const COUNTING: &str = "hist:keys=location";

/// Counts socket buffers from its making on: all of the machine, which does little else.
pub(super) struct BufferCount;

impl BufferCount {
    /// Starts to count.
    pub(super) fn start() -> Result<BufferCount> {
        write_trigger(COUNTING)?;
        Ok(BufferCount)
    }

    /// How many there were.
    pub(super) fn read(&self) -> Result<u64> {
        let text = fs::read_to_string(Path::new(EVENT).join("hist")).context("reading the kernel's histogram")?;
        let hits =
            text.lines().find_map(|line| line.trim().strip_prefix("Hits: ")).context("a histogram without hits")?;
        Ok(hits.trim().parse()?)
    }
}

impl Drop for BufferCount {
    fn drop(&mut self) {
        let _ = write_trigger(&format!("!{COUNTING}"));
    }
}

fn write_trigger(command: &str) -> Result<()> {
    fs::write(Path::new(EVENT).join("trigger"), command).with_context(|| format!("counting with {command:?}"))
}
