//! The loop of `sender receive`: one thread that waits for datagrams, deadlines and the end.

use super::cli::{Options, ReceiveArgs, nanos};
use super::error::ReceiveError;
use super::output::{Output, Taken};
use super::progress::{Document, Ended, Progress};
use super::session::Session;
use super::socket::{Inlet, Sockets, monotonic};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How long a BYE may back off before it is left out (RFC 3550 6.3.7 allows that), in ns.
const BYE_PATIENCE: u64 = 5_000_000_000;
/// Batches read in a row before deadlines are looked at.
const BATCHES: usize = 16;
const SECOND: u64 = 1_000_000_000;

/// `sender receive`: runs until a stop condition, SIGINT or SIGTERM. A second signal ends the process at once.
///
/// # Errors
/// [`ReceiveError::exit_code`] is the exit code: 2 for arguments, 1 for what failed on the way.
pub fn run(args: &ReceiveArgs) -> Result<Document, ReceiveError> {
    let options = args.check()?;
    let (read, write) = UnixStream::pair().map_err(signals)?;
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&again)).map_err(signals)?;
        signal_hook::flag::register(signal, Arc::clone(&again)).map_err(signals)?;
        signal_hook::low_level::pipe::register(signal, write.try_clone().map_err(signals)?).map_err(signals)?;
    }
    receive(&options, read.as_fd())
}

fn signals(source: io::Error) -> ReceiveError {
    ReceiveError::Io { what: "the handler of SIGINT and SIGTERM", source }
}

/// Receives until a stop condition holds or `stop` becomes readable.
///
/// # Errors
/// As [`run()`].
pub fn receive(options: &Options, stop: BorrowedFd<'_>) -> Result<Document, ReceiveError> {
    let mut receiver = Receiver::open(options)?;
    let outcome = receiver.run(stop);
    let ended = match &outcome {
        Ok(ended) => *ended,
        Err(_) => Ended::Failed,
    };
    receiver.close(ended, outcome.is_ok())?;
    outcome?;
    let document = receiver.document(ended);
    if ended == Ended::Silence {
        return Err(receiver.silence(&document));
    }
    Ok(document)
}

struct Receiver<'a> {
    options: &'a Options,
    session: Session,
    sockets: Sockets,
    output: Output,
    progress: Progress,
    started: u64,
    first_media: Option<u64>,
    next_tick: u64,
    closed: bool,
}

impl<'a> Receiver<'a> {
    fn open(options: &'a Options) -> Result<Receiver<'a>, ReceiveError> {
        let output = Output::open(&options.output)?;
        let sockets = Sockets::open(options)?;
        let started = monotonic();
        Ok(Receiver {
            options,
            session: Session::new(options.session.clone(), started),
            sockets,
            output,
            progress: Progress::new(options.progress, started),
            started,
            first_media: None,
            next_tick: started + SECOND,
            closed: false,
        })
    }

    fn run(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, ReceiveError> {
        loop {
            let drained = self.read()?;
            let now = monotonic();
            // While datagrams wait in the socket their gaps are not given up.
            let mut deadline = if drained { self.session.poll(now) } else { now };
            self.send();
            self.write()?;
            if let Some(ended) = self.ended(now) {
                return Ok(ended);
            }
            if now >= self.next_tick {
                self.tick(now)?;
            }
            deadline = self.deadlines(now).fold(deadline, u64::min);
            if self.wait(stop, deadline.saturating_sub(now))? {
                return Ok(Ended::Signal);
            }
        }
    }

    /// Reads all sockets. Returns whether nothing is left on the RTP socket.
    fn read(&mut self) -> Result<bool, ReceiveError> {
        let session = &mut self.session;
        let fail = |what| move |source| ReceiveError::Io { what, source };
        for inlet in [Some(&mut self.sockets.rtcp), self.sockets.feedback.as_mut()].into_iter().flatten() {
            let mut take = |arrival, bytes: &[u8]| {
                session.on_rtcp(arrival, bytes);
                true
            };
            inlet.receive(&mut take).map_err(fail("the RTCP port"))?;
        }
        let most = self.options.packets.unwrap_or(u64::MAX);
        for _ in 0..BATCHES {
            let take = |arrival, bytes: &[u8]| {
                session.on_rtp(arrival, bytes);
                session.received() < most
            };
            if self.sockets.rtp.receive(take).map_err(fail("the RTP port"))? < Inlet::BATCH {
                return Ok(true);
            }
            if session.received() >= most {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn send(&mut self) {
        while let Some(packet) = self.session.take_rtcp() {
            self.sockets.send(&packet);
        }
    }

    fn write(&mut self) -> Result<(), ReceiveError> {
        while let Some(packet) = self.session.take_media() {
            self.first_media.get_or_insert(packet.arrival);
            if !self.closed && self.output.write(packet.payload())? == Taken::Closed {
                self.closed = true;
            }
        }
        if self.output.is_live() && !self.closed && self.output.flush()? == Taken::Closed {
            self.closed = true;
        }
        Ok(())
    }

    fn ended(&self, now: u64) -> Option<Ended> {
        let received = self.session.received();
        let over = |since: u64, limit: std::time::Duration| now.saturating_sub(since) >= nanos(limit);
        if self.closed {
            Some(Ended::OutputClosed)
        } else if self.options.packets.is_some_and(|packets| received >= packets) {
            Some(Ended::Packets)
        } else if self.options.duration.zip(self.first_media).is_some_and(|(limit, first)| over(first, limit)) {
            Some(Ended::Duration)
        } else if self.options.until_bye && self.session.source_left() {
            Some(Ended::Bye)
        } else if received == 0 && self.options.timeout.is_some_and(|limit| over(self.started, limit)) {
            Some(Ended::Silence)
        } else {
            None
        }
    }

    /// When the loop has to come round for the stop conditions and the progress.
    fn deadlines(&self, now: u64) -> impl Iterator<Item = u64> {
        let duration =
            self.options.duration.zip(self.first_media).map(|(limit, first)| first.saturating_add(nanos(limit)));
        let timeout = self.options.timeout.map(|limit| self.started.saturating_add(nanos(limit)));
        [Some(self.next_tick), duration, timeout.filter(|&at| at > now)].into_iter().flatten()
    }

    /// Once a second: progress, status, what lies in the file's buffer.
    fn tick(&mut self, now: u64) -> Result<(), ReceiveError> {
        self.next_tick = now + SECOND;
        let document = self.document(Ended::Running);
        self.progress.show(now, &document);
        if let Some(path) = &self.options.status {
            document.write(path)?;
        }
        if self.output.flush()? == Taken::Closed {
            self.closed = true;
        }
        Ok(())
    }

    /// Waits for a datagram, at most `nanos`. Returns whether to stop.
    fn wait(&self, stop: BorrowedFd<'_>, nanos: u64) -> Result<bool, ReceiveError> {
        let millis = nanos.div_ceil(1_000_000).min(1000);
        let mut fds = vec![PollFd::new(stop, PollFlags::POLLIN)];
        let inlets = [Some(&self.sockets.rtp), Some(&self.sockets.rtcp), self.sockets.feedback.as_ref()];
        fds.extend(inlets.into_iter().flatten().map(|inlet| PollFd::new(inlet.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(millis as u16)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(ReceiveError::Io { what: "its sockets", source: error.into() }),
        }
        Ok(fds[0].any().unwrap_or(false))
    }

    /// Says BYE, leaves the group, writes what is still held, and the figures.
    fn close(&mut self, ended: Ended, write: bool) -> Result<(), ReceiveError> {
        self.session.leave(monotonic());
        let patience = monotonic() + BYE_PATIENCE;
        let flushed = if write { self.write().and_then(|()| self.output.flush().map(drop)) } else { Ok(()) };
        self.send();
        while !self.session.has_left() && monotonic() < patience {
            let session = &mut self.session;
            let mut take = |arrival, bytes: &[u8]| {
                session.on_rtcp(arrival, bytes);
                true
            };
            let _ = self.sockets.rtcp.receive(&mut take);
            let next = self.session.poll(monotonic());
            self.send();
            let mut fds = [PollFd::new(self.sockets.rtcp.as_fd(), PollFlags::POLLIN)];
            let millis = next.min(patience).saturating_sub(monotonic()).div_ceil(1_000_000).min(1000);
            if !self.session.has_left() {
                let _ = poll(&mut fds, PollTimeout::from(millis as u16));
            }
        }
        self.sockets.leave();
        let document = self.document(ended);
        self.progress.end(&document);
        for path in [&self.options.status, &self.options.summary].into_iter().flatten() {
            document.write(path)?;
        }
        flushed
    }

    fn document(&self, ended: Ended) -> Document {
        let mut snapshot = self.session.snapshot();
        if self.sockets.feedback.is_none() {
            (snapshot.reports_sent, snapshot.byes_sent) = (0, 0);
        }
        Document {
            ended,
            snapshot,
            kernel_drops: self.sockets.kernel_drops(),
            joins_sent: self.sockets.joins,
            leaves_sent: self.sockets.leaves,
            reports_unsent: self.sockets.failed_sends,
        }
    }

    fn silence(&self, document: &Document) -> ReceiveError {
        let source = self.options.source.map(|source| format!(" from {source}")).unwrap_or_default();
        let interface = self.options.interface.as_ref().map(|(name, _)| format!(" on {name}")).unwrap_or_default();
        let counts = document.snapshot.counts;
        ReceiveError::Silence {
            what: format!("{}{source}{interface}", self.options.group),
            waited: self.options.timeout.unwrap_or_default(),
            state: document.snapshot.state,
            others: counts.foreign + counts.malformed + counts.auth_failed,
        }
    }
}
