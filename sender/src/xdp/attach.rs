//! Loading and attaching.

use std::collections::HashMap;

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{Array, HashMap as HashTable, Map, MapData, PerCpuArray, RingBuf},
    programs::{ProgramError, TestRun, TestRunOptions, Xdp as Program, links::FdLink, xdp::XdpMode},
};
use aya_log::EbpfLogger;
use sender_common::{
    Address, Counters, Distance, Expected, GroupState, Querier, Receiver, ReceiverKey, Settings as Shared, TitleEntry,
    TitleStats,
    layout::{INTERVAL_SLOTS, maps},
};

use super::{
    OBJECT,
    error::{XdpError, errno},
    hold::AllMulticast,
    log::IntoTracing,
};

/// The program's name in the object.
const PROGRAM: &str = "sender";

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the driver. Zero-copy AF_XDP needs it.
    Native,
    /// By the network stack, after the driver: slow, but every interface has it. Only by explicit setting.
    Generic,
}

/// What is fixed when the program is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many titles there may be; numbers run from 0.
    pub titles: u32,
    /// How many groups there may be, over all titles.
    pub groups: u32,
    /// How many receivers are remembered; the least recently heard is forgotten for a new one.
    pub receivers: u32,
    /// How many clients' distances are remembered.
    pub distances: u32,
    /// Room for events, in octets: a power of two, at least a page.
    pub events: u32,
    /// Swallow valid reports to feedback ports once they are counted.
    pub absorb: bool,
    /// The front door's TCP port: requests to it tell distances.
    pub front_door: Option<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            titles: 1024,
            groups: 4096,
            receivers: 131_072,
            distances: 65_536,
            events: 1 << 20,
            absorb: false,
            front_door: None,
        }
    }
}

type Hash<K, V> = HashTable<MapData, K, V>;

/// The XDP program: loaded, and as a rule attached. Dropped (or its process killed), it is detached.
pub struct Xdp {
    pub(super) ebpf: Ebpf,
    pub(super) settings: Settings,
    pub(super) shared: Shared,
    pub(super) shared_map: Array<MapData, Shared>,
    pub(super) counters: PerCpuArray<MapData, Counters>,
    pub(super) ports: Array<MapData, u64>,
    /// How many titles and groups want each port.
    pub(super) wanted: HashMap<u16, u32>,
    pub(super) feedback: Array<MapData, TitleEntry>,
    pub(super) groups: Hash<Address, GroupState>,
    pub(super) receivers: Hash<ReceiverKey, Receiver>,
    pub(super) expected: Hash<ReceiverKey, Expected>,
    pub(super) distances: Hash<Address, Distance>,
    pub(super) title_stats: PerCpuArray<MapData, TitleStats>,
    pub(super) queriers: Array<MapData, Querier>,
    pub(super) events: RingBuf<MapData>,
    pub(super) log: EbpfLogger<IntoTracing>,
    // Dropped in this order: detached first.
    link: Option<FdLink>,
    hold: Option<AllMulticast>,
}

impl std::fmt::Debug for Xdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xdp").field("settings", &self.settings).field("link", &self.link).finish_non_exhaustive()
    }
}

impl Xdp {
    /// Loads the program and attaches it to an interface of this network namespace, which it also holds in all-multicast.
    pub fn attach(interface: &str, mode: Mode, settings: &Settings) -> Result<Self, XdpError> {
        let ifindex = nix::net::if_::if_nametoindex(interface)
            .map_err(|_| XdpError::NoInterface { interface: interface.to_owned() })?;
        let mut xdp = Self::load(settings)?;
        let hold = AllMulticast::hold(ifindex).map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => XdpError::NotPermitted { what: "hold all-multicast" },
            _ => XdpError::Hold { interface: interface.to_owned(), source },
        })?;
        let flags = match mode {
            Mode::Native => XdpMode::Driver,
            Mode::Generic => XdpMode::Skb,
        };
        let refused = |error: ProgramError| refused(interface, mode, error);
        let program = program(&mut xdp.ebpf)?;
        let id = program.attach_to_if_index(ifindex, flags).map_err(refused)?;
        let link = program.take_link(id).map_err(refused)?;
        // A link by descriptor ends with this process; the older kind would outlive it. Dropping that one detaches it.
        let link = FdLink::try_from(link).map_err(|_| XdpError::NoLink { interface: interface.to_owned() })?;
        xdp.link = Some(link);
        xdp.hold = Some(hold);
        Ok(xdp)
    }

    /// Loads the program without attaching it anywhere: for tests and benchmarks, which run it by [`Xdp::run_on`].
    pub fn load(settings: &Settings) -> Result<Self, XdpError> {
        if OBJECT.is_empty() {
            return Err(XdpError::NotBuilt);
        }
        let mut loader = EbpfLoader::new();
        loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(maps::GROUPS, settings.groups)
            .map_max_entries(maps::RECEIVERS, settings.receivers)
            .map_max_entries(maps::EXPECTED, settings.receivers)
            .map_max_entries(maps::DISTANCES, settings.distances)
            .map_max_entries(maps::TITLE_STATS, settings.titles * INTERVAL_SLOTS)
            .map_max_entries(maps::EVENTS, settings.events);
        let mut ebpf = loader.load(OBJECT).map_err(load_error)?;
        let log = EbpfLogger::init_with_logger(&mut ebpf, IntoTracing).map_err(load_error)?;
        program(&mut ebpf)?.load().map_err(load_error)?;
        let shared = Shared {
            interval: 1,
            absorb: u32::from(settings.absorb),
            front_door: settings.front_door.map_or(0, u32::from),
            reserved: 0,
        };
        let mut shared_map: Array<MapData, Shared> = taken(&mut ebpf, maps::SETTINGS)?;
        shared_map.set(0, shared, 0).map_err(load_error)?;
        Ok(Self {
            settings: *settings,
            shared,
            shared_map,
            counters: taken(&mut ebpf, maps::COUNTERS)?,
            ports: taken(&mut ebpf, maps::PORTS)?,
            wanted: HashMap::new(),
            feedback: taken(&mut ebpf, maps::FEEDBACK)?,
            groups: taken(&mut ebpf, maps::GROUPS)?,
            receivers: taken(&mut ebpf, maps::RECEIVERS)?,
            expected: taken(&mut ebpf, maps::EXPECTED)?,
            distances: taken(&mut ebpf, maps::DISTANCES)?,
            title_stats: taken(&mut ebpf, maps::TITLE_STATS)?,
            queriers: taken(&mut ebpf, maps::QUERIERS)?,
            events: taken(&mut ebpf, maps::EVENTS)?,
            log,
            link: None,
            hold: None,
            ebpf,
        })
    }

    /// Runs the program on a packet, `repeat` times, without any interface (`BPF_PROG_TEST_RUN`). Answers the program's
    /// verdict (an `xdp_action`) and the mean time of a run in nanoseconds. The kernel takes packets of 14 to about 3500 octets.
    pub fn run_on(&self, packet: &[u8], repeat: u32) -> Result<(u32, u64), XdpError> {
        let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::default() };
        let program: &Program =
            self.ebpf.program(PROGRAM).ok_or(XdpError::NotBuilt)?.try_into().map_err(load_error::<ProgramError>)?;
        let result = program.test_run(options).map_err(load_error)?;
        Ok((result.return_value, result.duration.as_nanos() as u64))
    }

    /// The loaded program's descriptor: benchmarks call it from their own programs.
    #[doc(hidden)]
    pub fn program_fd(&self) -> Result<&aya::programs::ProgramFd, XdpError> {
        self.ebpf.program(PROGRAM).ok_or(XdpError::NotBuilt)?.fd().map_err(load_error)
    }

    /// Whether it is attached (and not only loaded).
    pub fn is_attached(&self) -> bool {
        self.link.is_some() && self.hold.is_some()
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Program, XdpError> {
    ebpf.program_mut(PROGRAM).ok_or(XdpError::NotBuilt)?.try_into().map_err(load_error::<ProgramError>)
}

fn taken<T: TryFrom<Map, Error = aya::maps::MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, XdpError> {
    let missing = || XdpError::Load(format!("the object has no map {name}").into());
    T::try_from(ebpf.take_map(name).ok_or_else(missing)?).map_err(|source| XdpError::Map {
        what: "open",
        map: name,
        source,
    })
}

fn load_error<E: std::error::Error + Send + Sync + 'static>(error: E) -> XdpError {
    match errno(&error) {
        Some(libc::EPERM | libc::EACCES) if !is_verdict(&error) => {
            XdpError::NotPermitted { what: "load the XDP program" }
        }
        _ => XdpError::Load(Box::new(error)),
    }
}

/// The verifier says EACCES, too, but it says why at length.
fn is_verdict(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(ProgramError::LoadError { verifier_log, .. }) if !verifier_log.to_string().trim().is_empty())
}

fn refused(interface: &str, mode: Mode, error: ProgramError) -> XdpError {
    let interface = interface.to_owned();
    match (errno(&error), mode) {
        (Some(libc::EPERM | libc::EACCES), _) => XdpError::NotPermitted { what: "attach the XDP program" },
        (Some(libc::EBUSY | libc::EEXIST), _) => XdpError::Occupied { interface },
        (Some(libc::EOPNOTSUPP), Mode::Native) => XdpError::NativeNotSupported { interface },
        (Some(libc::ERANGE | libc::EMSGSIZE), Mode::Native) => XdpError::MtuTooLarge { interface },
        (Some(libc::ENODEV), _) => XdpError::NoInterface { interface },
        _ => XdpError::Attach { interface, source: Box::new(error) },
    }
}
