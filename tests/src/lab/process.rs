//! A child process that can't outlive its guard, what it says, and waits with a bound.

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A running child. Its standard output and error are kept in memory. Dropping it kills it; in a failing test, what it
/// said last is shown then.
#[derive(Debug)]
pub struct Process {
    shown: String,
    child: Child,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Said {
    streams: Mutex<[Vec<u8>; 2]>,
    more: Condvar,
}

impl Said {
    fn lock(&self) -> MutexGuard<'_, [Vec<u8>; 2]> {
        // Bytes are whole after any panic.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Process {
    /// Starts `command`.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}").replace('"', "");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting `{shown}`"))?;
        let said = Arc::new(Said::default());
        let stdout = child.stdout.take().expect("standard output was asked for as a pipe");
        let stderr = child.stderr.take().expect("standard error was asked for as a pipe");
        let readers = vec![reader(stdout, 0, &said), reader(stderr, 1, &said)];
        Ok(Self { shown, child, said, readers })
    }

    /// Its process id (the program's own: `ip netns exec` becomes the program it runs).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its command line, for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.said.lock()[0].clone()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.said.lock()[1]).into_owned()
    }

    /// Waits until it has written `text` to either stream; returns the line it stands in.
    ///
    /// # Errors
    /// When it ended without, or did not within `timeout`; the error shows what it said instead.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let end = Instant::now() + timeout;
        loop {
            // Asked before looking: what it said before it ended is complete then.
            let status = self.child.try_wait()?;
            if status.is_some() {
                self.finish_reading();
            }
            let streams = self.said.lock();
            if let Some(line) = streams.iter().find_map(|stream| line_with(stream, text)) {
                return Ok(line);
            }
            let left = end.saturating_duration_since(Instant::now());
            if status.is_some() || left.is_zero() {
                drop(streams);
                let why = status
                    .map_or_else(|| format!("within {timeout:?}"), |status| format!("before it ended ({status})"));
                bail!("`{}` did not say {text:?} {why}. It said:\n{}", self.shown, self.tail());
            }
            // Bounded, because the end of the process wakes nobody when a grandchild holds the pipe.
            let pause = left.min(Duration::from_millis(50));
            drop(self.said.more.wait_timeout(streams, pause).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("asking for the end of `{}`", self.shown))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it runs on after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(status) = self.try_wait()? {
                self.finish_reading();
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("`{}` still runs after {timeout:?}. It said:\n{}", self.shown, self.tail());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal; one that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        // Not yet waited for, so the id can't have passed to another process.
        kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            .with_context(|| format!("sending {signal} to `{}`", self.shown))
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub fn stop(&mut self, timeout: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(timeout)
    }

    /// The last lines it wrote to standard error, for messages.
    pub fn tail(&self) -> String {
        let stderr = self.stderr();
        let lines: Vec<_> = stderr.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn finish_reading(&mut self) {
        // A grandchild that kept the pipe would block a join: what came within a second counts.
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end && self.readers.iter().any(|reader| !reader.is_finished()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- `{}` said last:\n{}\n---", self.shown, self.tail());
        }
    }
}

fn reader(mut pipe: impl Read + Send + 'static, stream: usize, said: &Arc<Said>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        let mut buffer = [0; 16384];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            said.lock()[stream].extend_from_slice(&buffer[..length]);
            said.more.notify_all();
        }
    })
}

fn line_with(bytes: &[u8], text: &str) -> Option<String> {
    let written = String::from_utf8_lossy(bytes);
    written.lines().find(|line| line.contains(text)).map(str::to_owned)
}
