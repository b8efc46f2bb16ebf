//! What a running sender takes beside its packet memory.

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use sender_tests::lab::sender_binary;

use super::{engine::sample, report::Report, veth::Veth};

const UMEM_MIB: f64 = 64.0;
const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn run(report: &mut Report) {
    match Veth::new().and_then(|veth| veth.in_sender(|| measure().map_err(|error| format!("{error:#}")))) {
        Ok(beyond) => report.add("memory.beyond_umem", beyond, "MiB", "packet memory", UMEM_MIB, "≤ 50 MiB"),
        Err(reason) => report.skip("memory.beyond_umem", &reason),
    }
}

/// Resident memory of `sender run` with 16 copies of the sample, without its umem.
fn measure() -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("sender.toml");
    let status = folder.path().join("status.json");
    let text = format!(
        "[network]\ninterface = \"tx0\"\n[transmit]\numem = \"{UMEM_MIB}MiB\"\n[[title]]\nname = \"sample\"\n\
         file = \"{}\"\ncopies = 16\ngroup = \"239.192.1.1\"\nfeedback_port = 6001\n",
        sample().display()
    );
    fs::write(&config, text)?;
    let binary = sender_binary()?;
    let mut child = Command::new(binary)
        .arg("run")
        .arg("-c")
        .arg(&config)
        .arg("--status")
        .arg(&status)
        .stderr(Stdio::null())
        .spawn()?;
    let measured = resident(child.id(), &status);
    let _ = child.kill();
    child.wait()?;
    Ok(measured? / MIB - UMEM_MIB)
}

fn resident(pid: u32, status: &std::path::Path) -> anyhow::Result<f64> {
    // Once every copy has sent something, nothing more is allocated.
    let running = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        fs::read_to_string(status).is_ok_and(|text| text.contains("\"sent\"") && !text.contains("\"sent\": 0"))
    });
    anyhow::ensure!(running, "sender did not start sending on all copies within 30 s");
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
    Ok(kib * 1024.0)
}
