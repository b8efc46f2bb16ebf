//! The thread round an engine: pinned, reads the clock, sleeps, takes commands and gives events. The only part of the
//! engine that does I/O of its own; the loop never allocates, frees, locks or logs.

use std::{io, thread, time::Duration};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
    unistd::Pid,
};

use super::{
    cursor::{Cursor, StreamSlot},
    engine::{Engine, Limits},
    port::{Port, PortMode},
    snapshot::Snapshot,
    time::{Time, nanos},
};

/// Commands and events that may wait for the other side.
const QUEUE: usize = 256;
/// With copies running, commands wait at most this long.
const MAX_SLEEP: u64 = 5_000_000;
/// With nothing running, the thread blocks on its commands and only looks round so often.
const IDLE: Duration = Duration::from_millis(500);
/// How long what is outstanding may take to leave at the end.
const DRAIN: u64 = 500_000_000;
/// How long a new thread may take to make its port (a large umem has to be cleared).
const SET_UP: Duration = Duration::from_secs(60);

/// What the control thread asks for. Boxes are made and dropped there, never in the data thread.
pub enum Command {
    /// Puts a stream into a slot, or takes it out. Answered by [`Event::Stream`].
    Stream(u32, Option<Box<StreamSlot>>),
    /// Starts a copy under a number. Answered by [`Event::Refused`] if that can't be.
    Start(u32, Box<Cursor>),
    /// Stops a copy. Answered by [`Event::Ended`].
    Stop(u32),
    /// Sends a whole Ethernet frame. Answered by [`Event::Frame`].
    Frame(Vec<u8>),
    /// Fills a snapshot. Answered by [`Event::Snapshot`].
    Snapshot(Box<Snapshot>),
    /// Tells the wall clock's offset, see [`Engine::set_ntp_offset`].
    NtpOffset(u64),
    /// Sends all copies' BYEs and lets none of them go on: their figures are final.
    Silence,
    /// Silences, drains and ends the thread.
    Shutdown,
}

/// What the data thread says.
pub enum Event {
    /// What was in the slot before; what should have gone in, if a copy still uses what is there.
    Stream(u32, Option<Box<StreamSlot>>),
    /// The number is taken or the copy's stream isn't there.
    Refused(u32, Box<Cursor>),
    /// The copy is stopped, its BYE sent; `None` if there was none under this number.
    Ended(u32, Option<Box<Cursor>>),
    /// The frame was posted, or counted as lost.
    Frame(Vec<u8>),
    /// The figures of the engine.
    Snapshot(Box<Snapshot>),
}

/// What a worker is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the thread, at most 15 bytes are shown.
    pub name: String,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
    /// Sizes and limits of the engine.
    pub limits: Limits,
    /// Departures within so much time share one wake-up.
    pub coalesce: Duration,
    /// Seed of what is drawn at random.
    pub seed: u64,
}

/// What the control thread holds of a worker.
pub struct Worker {
    /// Commands to it; full when the data thread doesn't keep up.
    pub commands: Sender<Command>,
    /// Events from it.
    pub events: Receiver<Event>,
    /// Resident frames that extents can be made of.
    pub resident_frames: u32,
    /// How frames leave.
    pub mode: PortMode,
    thread: Option<thread::JoinHandle<()>>,
}

/// Why a worker didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError<E: std::error::Error + 'static> {
    /// No thread could be had.
    #[error("cannot start the transmit thread: {0}: raise the limit on threads (ulimit -u, TasksMax=)")]
    Thread(#[source] io::Error),
    /// The thread can't be pinned.
    #[error(
        "cannot pin the transmit thread to CPU {cpu}: {source}: name a CPU that this process may use in transmit.cpus"
    )]
    Pin {
        /// The CPU asked for.
        cpu: usize,
        /// What the kernel said.
        source: nix::Error,
    },
    /// The port can't be made.
    #[error(transparent)]
    Port(E),
    /// No answer.
    #[error("the transmit thread did not get ready within {} s: the machine is overloaded or out of memory", SET_UP.as_secs())]
    Timeout,
}

impl Worker {
    /// Starts a pinned thread, makes the port there (so that its memory lies on that CPU's node) and runs an engine on it.
    ///
    /// # Errors
    /// When the thread can't be started or pinned, or the port can't be made.
    pub fn spawn<P, E>(
        settings: Settings,
        make_port: impl FnOnce() -> Result<P, E> + Send + 'static,
    ) -> Result<Self, StartError<E>>
    where
        P: Port,
        E: std::error::Error + Send + 'static,
    {
        let name = settings.name.clone();
        let (commands, command_queue) = bounded(QUEUE);
        let (event_queue, events) = bounded(QUEUE);
        let (ready, is_ready) = bounded(1);
        let body = move || {
            let port = match pin(settings.cpu).and_then(|()| make_port().map_err(StartError::Port)) {
                Ok(port) => port,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let engine = Engine::new(port, settings.limits, now(), settings.seed);
            let _ = ready.send(Ok((engine.resident_frames(), engine.port().stats().mode)));
            let coalesce = nanos(settings.coalesce);
            Loop { engine, commands: command_queue, events: event_queue, coalesce }.run();
        };
        let thread = thread::Builder::new().name(name).spawn(body).map_err(StartError::Thread)?;
        let (resident_frames, mode) = is_ready.recv_timeout(SET_UP).map_err(|_| StartError::Timeout)??;
        Ok(Self { commands, events, resident_frames, mode, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Answers that nobody fetched would keep the thread from hearing its end.
        self.events.try_iter().for_each(drop);
        // A dead or overloaded thread can't be told; the commands' end tells it too.
        let _ = self.commands.send_timeout(Command::Shutdown, Duration::from_secs(2));
        let (dead, _) = bounded(0);
        self.commands = dead;
        // Ends when the thread lets go of its queue.
        self.events.iter().for_each(drop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The clock of the engine.
pub fn now() -> Time {
    // CLOCK_MONOTONIC exists on every Linux; reading it can't fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| Time::from_nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64))
        .unwrap_or_default()
}

fn pin<E: std::error::Error + 'static>(cpu: Option<usize>) -> Result<(), StartError<E>> {
    // Without a tighter slack the kernel may let every sleep run 50 µs over; failing that is no reason not to start.
    let _ = nix::sys::prctl::set_timerslack(1);
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|source| StartError::Pin { cpu, source })
}

struct Loop<P> {
    engine: Engine<P>,
    commands: Receiver<Command>,
    events: Sender<Event>,
    coalesce: u64,
}

impl<P: Port> Loop<P> {
    fn run(mut self) {
        loop {
            if !self.take_commands() {
                return self.end();
            }
            let now = now();
            let next = self.engine.turn(now);
            match next {
                Some(next) => self.sleep(now, next),
                // Nothing to do, but answers wait to be fetched: commands have to wait with them.
                None if self.events.is_full() => self.sleep(now, now.plus_nanos(MAX_SLEEP)),
                None => match self.commands.recv_timeout(IDLE) {
                    Ok(command) => {
                        if !self.obey(command) {
                            return self.end();
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return self.end(),
                },
            }
        }
    }

    /// Obeys what waits, as long as every command's answer finds room. False: it is time to end.
    fn take_commands(&mut self) -> bool {
        while !self.events.is_full() {
            match self.commands.try_recv() {
                Ok(command) => {
                    if !self.obey(command) {
                        return false;
                    }
                }
                Err(error) => return !error.is_disconnected(),
            }
        }
        true
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Stream(slot, stream) => {
                let out = if self.engine.in_use(slot) { stream } else { self.engine.put_stream(slot, stream) };
                self.say(Event::Stream(slot, out));
            }
            Command::Start(number, cursor) => {
                if let Err(cursor) = self.engine.start(number, cursor, now()) {
                    self.say(Event::Refused(number, cursor));
                }
            }
            Command::Stop(number) => {
                let cursor = self.engine.stop(number, now());
                self.say(Event::Ended(number, cursor));
            }
            Command::Frame(frame) => {
                self.engine.send_frame(&frame);
                self.say(Event::Frame(frame));
            }
            Command::Snapshot(mut snapshot) => {
                self.fill(&mut snapshot);
                self.say(Event::Snapshot(snapshot));
            }
            Command::Silence => self.engine.silence(now()),
            Command::NtpOffset(offset) => self.engine.set_ntp_offset(offset),
            Command::Shutdown => return false,
        }
        true
    }

    /// The queue has room: commands are obeyed only then, and nobody else fills it. If the control
    /// thread is gone, nobody misses the event.
    fn say(&self, event: Event) {
        let _ = self.events.try_send(event);
    }

    fn fill(&self, snapshot: &mut Snapshot) {
        snapshot.counters = *self.engine.counters();
        snapshot.port = self.engine.port().stats();
        snapshot.pacing.copy_from(self.engine.pacing());
        snapshot.copies.clear();
        let room = snapshot.copies.capacity();
        snapshot.copies.extend(self.engine.cursors().take(room).map(|cursor| cursor.map(Cursor::figures)));
    }

    fn sleep(&self, now: Time, next: Time) {
        let wake = next.max(now.plus_nanos(self.coalesce)).min(now.plus_nanos(MAX_SLEEP)).nanos();
        let at = nix::sys::time::TimeSpec::new((wake / 1_000_000_000) as i64, (wake % 1_000_000_000) as i64);
        // A signal may end the sleep early: the next turn finds nothing due and sleeps again.
        let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
    }

    /// BYE to all groups, then what is outstanding gets a bounded time to leave.
    fn end(mut self) {
        let start = now();
        self.engine.silence(start);
        let mut at = start;
        while at.since(start) < DRAIN {
            self.engine.drain();
            if self.engine.port().outstanding() == 0 {
                return;
            }
            self.sleep(at, at.plus_nanos(1_000_000));
            at = now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::{super::memory_port::MemoryPort, *};

    fn worker() -> Worker {
        let limits = Limits { streams: 1, cursors: 1, scratch_frames: 8, burst: 8, max_lateness: 1_000_000_000 };
        let settings = Settings { name: "test".into(), cpu: None, limits, coalesce: Duration::ZERO, seed: 1 };
        Worker::spawn(settings, || Ok::<_, Infallible>(MemoryPort::new(16, 8))).expect("a thread")
    }

    #[test]
    fn a_worker_loses_no_answer_that_is_not_fetched_and_still_ends() {
        let worker = worker();
        let mut asked = 0;
        while worker.commands.send_timeout(Command::Stop(0), Duration::from_millis(50)).is_ok() {
            asked += 1;
        }
        assert_eq!(asked, 2 * QUEUE, "as many as the answers' and the commands' queues hold");
        let answers = worker.events.iter().take(asked).filter(|event| matches!(event, Event::Ended(0, None))).count();
        assert_eq!(answers, asked);
        while worker.commands.send_timeout(Command::Stop(0), Duration::from_millis(50)).is_ok() {}
        drop(worker);
    }
}
