//! The guest's end of the control line: a serial port beside the console, so that it works whatever the NIC does.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr},
};

use super::ledger::Figures;

const PORT: &str = "/dev/ttyS1";
/// No request takes longer, waiting included.
const LIMIT: Duration = Duration::from_secs(20);

/// A line to the peer.
pub(crate) struct Control {
    port: File,
}

impl Control {
    pub(crate) fn open() -> Result<Control> {
        let port = OpenOptions::new().read(true).write(true).open(PORT).context(PORT)?;
        let mut mode = tcgetattr(&port)?;
        cfmakeraw(&mut mode);
        tcsetattr(&port, SetArg::TCSANOW, &mode)?;
        Ok(Control { port })
    }

    /// Forgets all frames so far.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.ask("reset").map(|_| ())
    }

    /// What came since the last reset, at this moment.
    pub(crate) fn figures(&mut self) -> Result<Figures> {
        self.ask_figures("figures")
    }

    /// Waits for `packets` RTP packets (at most `limit` without one) and says what came since the last reset.
    pub(crate) fn collect(&mut self, packets: u64, limit: Duration) -> Result<Figures> {
        self.ask_figures(&format!("collect {packets} {}", limit.as_millis()))
    }

    fn ask_figures(&mut self, request: &str) -> Result<Figures> {
        let answer = self.ask(request)?;
        Figures::parse(&answer).with_context(|| format!("the peer says {answer:?}"))
    }

    /// Lets the peer send IGMPv3 reports.
    pub(crate) fn inject(&mut self, count: u16) -> Result<()> {
        self.ask(&format!("inject {count}")).map(|_| ())
    }

    /// Plugs or pulls the cable.
    pub(crate) fn link(&mut self, up: bool) -> Result<()> {
        self.ask(if up { "link up" } else { "link down" }).map(|_| ())
    }

    fn ask(&mut self, request: &str) -> Result<String> {
        self.port.write_all(format!("{request}\n").as_bytes())?;
        let deadline = Instant::now() + LIMIT;
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "the peer does not answer {request:?}");
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut ports = [PollFd::new(self.port.as_fd(), PollFlags::POLLIN)];
            if poll(&mut ports, timeout)? > 0 {
                let mut bytes = [0; 256];
                let n = self.port.read(&mut bytes)?;
                answer.extend_from_slice(&bytes[..n]);
            }
        }
        let answer = String::from_utf8_lossy(&answer).trim().to_owned();
        match answer.strip_prefix("failed ") {
            Some(why) => bail!("the peer cannot {request}: {why}"),
            None => Ok(answer),
        }
    }
}
