//! The control thread: starts the copies, then once in a while collects figures, hears events, asks queries, and in the
//! end stops everything in order.

use std::{
    collections::VecDeque,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tracing::{error, info, warn};

use super::{
    RunOptions,
    counting::Counting,
    plan::{Plan, TitlePlan, vlan_tags},
    ports,
    status::{CopyStatus, QueueStatus, Status, TitleStatus, try_to_write, write_atomically},
};
use crate::{
    check::Ready,
    config::{self, Config},
    packet::{HeaderTemplate, VlanTag},
    querier::{Policy, Querier, QueryFrame},
    transmit::{
        Command, Cursor, Event, FrameBudget, Owner, PortMode, Reports, RtcpIndices, Snapshot, StreamSlot, Time, Worker,
        now, ntp_from_nanos,
    },
};

/// Between two rounds of the control loop.
const ROUND: Duration = Duration::from_millis(100);
/// Between two collections of figures.
const FIGURES: Duration = Duration::from_secs(1);
/// What the workers may take longer for each copy.
const LEAD_PER_COPY: Duration = Duration::from_micros(20);
/// From the set-up's end to the first packet: every worker has its commands by then.
const LEAD: Duration = Duration::from_millis(200);
/// How long a worker may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// The number of no copy.
const NO_COPY: u32 = u32::MAX;
/// Seconds from 1900, where NTP counts from, to 1970 (RFC 868).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// A running sender.
pub(super) struct Control {
    config: Config,
    plan: Plan,
    options: RunOptions,
    signals: Receiver<i32>,
    workers: Vec<Worker>,
    /// The latest figures of each worker.
    figures: Vec<Snapshot>,
    counting: Option<Counting>,
    queriers: Vec<Querier>,
    query_sources: Vec<IpAddr>,
    mac: [u8; 6],
    vlans: Vec<VlanTag>,
    /// Titles whose media was written into, and their copies that are still to be stopped: worker, number.
    spoilt: Vec<bool>,
    stopping: VecDeque<(usize, u32)>,
    /// The status could not be written last time: said once, not every second.
    status_lost: bool,
    /// When the leading copies' first packets were planned.
    base: Time,
}

impl Control {
    /// Sets everything up; the first packets leave [`LEAD`] and [`LEAD_PER_COPY`] later.
    ///
    /// # Errors
    /// What could not be had. What was set up before is taken down again.
    pub(super) fn start(plan: Plan, ready: Ready, options: RunOptions) -> anyhow::Result<Self> {
        if let Some(path) = &options.status {
            // A path that can't be written to is a mistake to be told before anything is sent.
            try_to_write(path).with_context(|| unwritable(path))?;
        }
        let signals = forward_signals()?;
        let queues = ready.config.network.queues.len();
        let counting = Counting::start(&ready, &plan)?;
        let demand = plan.demand(queues);
        let workers = (0..queues).map(|at| ports::spawn(&ready, at, demand));
        let workers = workers.collect::<anyhow::Result<Vec<Worker>>>()?;
        let query_sources = query_sources(&ready);
        let start = now();
        let policy = querier_policy(&ready.config, &workers, counting.is_some());
        let mut control = Self {
            figures: workers.iter().map(|_| Snapshot::default()).collect(),
            queriers: query_sources.iter().map(|&source| Querier::new(policy, source, start)).collect(),
            query_sources,
            mac: ready.interface.mac,
            vlans: vlan_tags(&ready.config),
            spoilt: vec![false; plan.titles.len()],
            stopping: VecDeque::new(),
            status_lost: false,
            base: start + LEAD + LEAD_PER_COPY * plan.copies_of_all(),
            config: ready.config,
            plan,
            options,
            signals,
            workers,
            counting,
        };
        control.start_copies()?;
        Ok(control)
    }

    /// Runs until a signal asks for the end.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        let mut next_figures = Instant::now();
        let mut asked = false;
        loop {
            match self.signals.recv_timeout(ROUND) {
                Ok(signal) => {
                    info!("signal {signal}: saying BYE and draining");
                    return self.end();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("the signal thread has died"),
            }
            self.hear()?;
            self.stop_copies();
            self.ask_queries();
            if std::mem::take(&mut asked) {
                // What was asked for in the last round has been heard by now.
                self.keep_status();
            }
            if Instant::now() >= next_figures {
                next_figures += FIGURES;
                self.watch_media();
                self.collect()?;
                asked = true;
            }
        }
    }

    fn start_copies(&mut self) -> anyhow::Result<()> {
        let mut budgets: Vec<FrameBudget> =
            self.workers.iter().map(|worker| FrameBudget::new(worker.resident_frames)).collect();
        let mut streams = vec![0; self.workers.len()];
        let mut cursors = vec![0; self.workers.len()];
        for worker in &self.workers {
            send(worker, Command::NtpOffset(ntp_offset()))?;
        }
        for (number, title) in self.plan.titles.iter().enumerate() {
            let at = title.worker;
            // Its answers are fetched as they come: a worker whose answers wait takes no more commands.
            fetch_answers(&self.workers[at], at)?;
            let worker = &self.workers[at];
            let extent = budgets[at].take(u32::try_from(title.media.packets_per_pass()).unwrap_or(u32::MAX));
            if u64::from(extent.count) < title.media.packets_per_pass() {
                info!(
                    "title \"{}\": {} of {} packets stay resident, the others are encrypted for every copy: a larger \
                    transmit.umem would keep them",
                    title.name,
                    extent.count,
                    title.media.packets_per_pass()
                );
            }
            let slot = streams[at];
            streams[at] += 1;
            let stream = StreamSlot::new(title.stream.clone(), extent, Owner(number as u32 + 1));
            send(worker, Command::Stream(slot, Some(Box::new(stream))))?;
            for copy in 0..title.copies.len() {
                let cursor = new_cursor(&self.config, title, copy, slot, self.base);
                send(worker, Command::Start(cursors[at], Box::new(cursor)))?;
                cursors[at] += 1;
            }
            info!(
                "title \"{}\": {} copies from {}, {:.3} s apart, SSRC {:08x}",
                title.name,
                title.copies.len(),
                title.copies[0].group,
                title.stagger as f64 / 1e9,
                title.stream.ssrc()
            );
        }
        Ok(())
    }

    /// Takes what the workers and the XDP program have to say.
    fn hear(&mut self) -> anyhow::Result<()> {
        for at in 0..self.workers.len() {
            while let Ok(event) = self.workers[at].events.try_recv() {
                self.take(at, event)?;
            }
        }
        if let Some(counting) = &mut self.counting {
            counting.hear(&mut self.queriers, now());
        }
        Ok(())
    }

    fn take(&mut self, at: usize, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Snapshot(snapshot) => {
                // At most once a snapshot: a ring that stands still is reported, not endured in silence.
                if snapshot.counters.stalls > self.figures[at].counters.stalls {
                    warn!("transmit thread {at}: frames wait and nothing leaves: {}", snapshot.port.stall_cause());
                }
                self.figures[at] = *snapshot;
            }
            other => never_refused(at, &other)?,
        }
        Ok(())
    }

    /// Ends titles whose files were written into: their packets would no longer be a function of media and index.
    fn watch_media(&mut self) {
        let mut cursors = vec![0; self.workers.len()];
        for (title, spoilt) in self.plan.titles.iter().zip(&mut self.spoilt) {
            let first = cursors[title.worker];
            cursors[title.worker] += title.copies.len() as u32;
            if *spoilt || !title.media.is_changed() {
                continue;
            }
            *spoilt = true;
            self.stopping.extend((first..cursors[title.worker]).map(|number| (title.worker, number)));
            error!(
                "title \"{}\": {} was written into while it is sent: the title ends, for one packet must never be sent \
                with two contents; rename new files over old ones, and restart",
                title.name,
                title.media.name()
            );
        }
    }

    /// Asks the workers to stop copies, as many as they take now.
    fn stop_copies(&mut self) {
        while let Some(&(at, number)) = self.stopping.front() {
            if self.workers[at].commands.try_send(Command::Stop(number)).is_err() {
                return;
            }
            self.stopping.pop_front();
        }
    }

    fn ask_queries(&mut self) {
        let now = now();
        for (querier, &source) in self.queriers.iter_mut().zip(&self.query_sources) {
            while let Some(query) = querier.poll(now) {
                let Some(frame) = QueryFrame::new(query, source, self.mac, &self.vlans) else { continue };
                // Queries go out by the first queue; one that finds its queue full is asked again in its time.
                if let Some(worker) = self.workers.first() {
                    let _ = worker.commands.try_send(Command::Frame(frame.into_bytes()));
                }
            }
        }
    }

    fn collect(&mut self) -> anyhow::Result<()> {
        for worker in &self.workers {
            let snapshot = Box::new(Snapshot::with_room_for(self.plan.copies_of_all()));
            // A worker that doesn't keep up with its commands is asked again next time.
            let _ = worker.commands.try_send(Command::NtpOffset(ntp_offset()));
            let _ = worker.commands.try_send(Command::Snapshot(snapshot));
        }
        self.count()
    }

    fn count(&mut self) -> anyhow::Result<()> {
        if let Some(counting) = &mut self.counting {
            counting.collect(&mut self.queriers, now())?;
        }
        Ok(())
    }

    /// Writes the status; what plays doesn't end because a disk is full.
    fn keep_status(&mut self) {
        match self.write_status() {
            Ok(()) => self.status_lost = false,
            Err(_) if self.status_lost => {}
            Err(error) => {
                self.status_lost = true;
                warn!("{error:#}: it is tried again every second");
            }
        }
    }

    fn write_status(&self) -> anyhow::Result<()> {
        let Some(path) = &self.options.status else { return Ok(()) };
        write_atomically(path, &self.status()).with_context(|| unwritable(path))
    }

    fn status(&self) -> Status {
        let time = now();
        let mut status = Status { now_ns: time.nanos(), ..Status::default() };
        for (figures, &queue) in self.figures.iter().zip(&self.config.network.queues) {
            status.sent += figures.counters.sent;
            status.encrypted += figures.counters.encrypted;
            status.skipped += figures.counters.skipped;
            status.queues.push(QueueStatus::new(queue, &figures.counters, &figures.port, &figures.pacing));
        }
        let mut cursors = vec![0; self.figures.len()];
        for (number, title) in self.plan.titles.iter().enumerate() {
            status.titles.push(self.title_status(number, title));
            for copy in 0..title.copies.len() {
                let figures =
                    self.figures.get(title.worker).and_then(|figures| *figures.copies.get(cursors[title.worker])?);
                cursors[title.worker] += 1;
                let figures = figures.unwrap_or_default();
                status.copies.push(CopyStatus {
                    title: title.name.clone(),
                    copy,
                    group: title.copies[copy].group,
                    base_ns: self.base.plus_nanos(title.stagger * copy as u64).nanos(),
                    first_index: title.stream.first_index().get(),
                    sent: figures.packets,
                    reports: figures.reports,
                    pass: figures.pass,
                });
            }
        }
        status.xdp = self.counting.as_ref().map(Counting::status);
        let family = |source: &IpAddr| if source.is_ipv4() { "ipv4" } else { "ipv6" };
        let queriers = self.queriers.iter().zip(&self.query_sources);
        status.querier = queriers.map(|(querier, source)| (family(source), querier.is_querier(time))).collect();
        status
    }

    fn title_status(&self, number: usize, title: &TitlePlan) -> TitleStatus {
        let counted = self.counting.as_ref().map(|counting| counting.title(number)).unwrap_or_default();
        TitleStatus {
            name: title.name.clone(),
            ssrc: title.stream.ssrc(),
            pass_ns: title.media.duration().to_nanos(),
            packets_per_pass: title.media.packets_per_pass(),
            stagger_ns: title.stagger,
            reporters: counted.reporters,
            reports: counted.reports,
        }
    }

    /// Every worker sends its BYEs and drains; then the last figures are taken, and XDP is detached.
    fn end(mut self) -> anyhow::Result<()> {
        self.collect_last();
        self.workers.clear();
        self.hear()?;
        self.count()?;
        self.write_status()
    }

    /// Silences every worker and waits for its last figures, for a bounded time.
    fn collect_last(&mut self) {
        for at in 0..self.workers.len() {
            let room = Snapshot::with_room_for(self.plan.copies_of_all());
            let worker = &self.workers[at];
            // The answer about a copy that isn't there says that everything before it was answered.
            let mut asked = [Command::Silence, Command::Snapshot(Box::new(room)), Command::Stop(NO_COPY)].into_iter();
            if asked.any(|command| send(worker, command).is_err()) {
                warn!("transmit thread {at} does not answer: its last figures are missing");
                continue;
            }
            let until = Instant::now() + ANSWER;
            while let Ok(event) = self.workers[at].events.recv_deadline(until) {
                match event {
                    // One that was asked for before may come first.
                    Event::Snapshot(last) => self.figures[at] = *last,
                    Event::Ended(NO_COPY, _) => break,
                    _ => {}
                }
            }
        }
    }
}

fn new_cursor(config: &Config, title: &TitlePlan, copy: usize, slot: u32, base: Time) -> Cursor {
    let plan = &title.copies[copy];
    let cname = match &config.rtcp.cname {
        Some(cname) => cname.as_str().to_owned(),
        None => format!("sender@{}", plan.media.src().ip()),
    };
    let reports = Reports {
        template: HeaderTemplate::new(&plan.reports),
        interval: config.rtcp.interval.duration(),
        cname: cname.into(),
        indices: RtcpIndices::of_channel(copy as u32, title.copies.len() as u32),
    };
    let start = base.plus_nanos(title.stagger * copy as u64);
    Cursor::new(slot, &title.stream, start, HeaderTemplate::new(&plan.media), Some(reports))
}

/// Fetches a worker's answers while copies are started: there is no snapshot among them yet.
fn fetch_answers(worker: &Worker, at: usize) -> anyhow::Result<()> {
    worker.events.try_iter().try_for_each(|event| never_refused(at, &event))
}

fn never_refused(at: usize, event: &Event) -> anyhow::Result<()> {
    match event {
        Event::Refused(number, _) => bail!("transmit thread {at} refused copy {number}: this is a defect"),
        _ => Ok(()),
    }
}

fn send(worker: &Worker, command: Command) -> anyhow::Result<()> {
    let sent = worker.commands.send_timeout(command, ANSWER);
    sent.map_err(|error| anyhow::anyhow!("a transmit thread takes no commands: {error}"))
}

/// The configured policy, as far as what was set up allows it.
fn querier_policy(config: &Config, workers: &[Worker], can_hear: bool) -> Policy {
    let wanted = match config.network.querier {
        config::Querier::Off => Policy::Off,
        config::Querier::Auto => Policy::Auto,
        config::Querier::On => Policy::On,
    };
    // Queries leave by the first queue, as whole frames: plain sockets send UDP only.
    let can_ask = workers.first().is_some_and(|worker| worker.mode != PortMode::Socket);
    let policy = wanted.within(can_ask, can_hear);
    if policy != wanted {
        let why = if can_ask { "xdp = \"off\" hears no other querier" } else { "plain sockets can't send queries" };
        warn!("this box is no IGMP and MLD querier: {why}; a switch that snoops needs another");
    }
    policy
}

/// Where queries come from: IPv4 from the interface's address, MLD from its link-local one (RFC 3810 §5.1.14).
fn query_sources(ready: &Ready) -> Vec<IpAddr> {
    let v4 = ready.source_v4.map(IpAddr::V4);
    v4.into_iter().chain(ready.interface.link_local.map(IpAddr::V6)).collect()
}

fn unwritable(path: &Path) -> String {
    format!("the status can't be written to {}", path.display())
}

fn forward_signals() -> anyhow::Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals can't be handled")?;
    let (sender, receiver) = bounded(1);
    let forward = move || {
        for (asked, signal) in signals.forever().enumerate() {
            if asked > 0 || sender.try_send(signal).is_err() {
                // Asked twice: the start or the end takes too long for whoever asks. Or nobody listens any more.
                std::process::exit(128 + signal);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(forward).context("no thread can be had")?;
    Ok(receiver)
}

/// The wall clock minus the engine's clock, in NTP units (RFC 3550 §4).
fn ntp_offset() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = ntp_from_nanos(wall.subsec_nanos().into()).wrapping_add(wall.as_secs().wrapping_add(NTP_TO_UNIX) << 32);
    wall.wrapping_sub(ntp_from_nanos(now().nanos()))
}
