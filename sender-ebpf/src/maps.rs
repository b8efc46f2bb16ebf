//! The maps. Sizes of those that grow with the audience are set by user space when it loads the program.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use sender_common::{
    Address, Counters, Distance, Expected, GroupState, Querier, Receiver, ReceiverKey, Settings, TitleEntry,
    TitleStats, Tokens, layout::INTERVAL_SLOTS,
};

/// All counters of this CPU, by reason: one value, so that one look-up serves a packet.
#[map]
pub static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// What user space tells us.
#[map]
pub static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// One bit for each UDP port with anything of ours on it: 8 KiB, so that foreign packets are told apart within the cache.
#[map]
pub static PORTS: Array<u64> = Array::with_max_entries(1024, 0);

/// Titles by feedback port.
#[map]
pub static FEEDBACK: Array<TitleEntry> = Array::with_max_entries(65536, 0);

/// Our groups. Only user space puts any in: joins of foreign groups can't fill it.
#[map]
pub static GROUPS: HashMap<Address, GroupState> = HashMap::with_max_entries(4096, 0);

/// Who reports on what.
#[map]
pub static RECEIVERS: LruHashMap<ReceiverKey, Receiver> = LruHashMap::with_max_entries(131_072, 0);

/// Who was announced: not a least-recently-used map, so that a flood of strangers pushes nobody out.
#[map]
pub static EXPECTED: HashMap<ReceiverKey, Expected> =
    HashMap::with_max_entries(131_072, 1 /* BPF_F_NO_PREALLOC */);

/// How far away the front door's clients are.
#[map]
pub static DISTANCES: LruHashMap<Address, Distance> = LruHashMap::with_max_entries(65_536, 0);

/// Statistics of titles by interval.
#[map]
pub static TITLE_STATS: PerCpuArray<TitleStats> = PerCpuArray::with_max_entries(1024 * INTERVAL_SLOTS, 0);

/// The queriers last heard: IGMP's and MLD's.
#[map]
pub static QUERIERS: Array<Querier> = Array::with_max_entries(2, 0);

/// Changes of state.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// How many events each source may still make.
#[map]
pub static SOURCES: LruHashMap<Address, Tokens> = LruHashMap::with_max_entries(16_384, 0);

/// When each kind of log line was last written.
#[map]
pub static LOGGED: Array<u64> = Array::with_max_entries(8, 0);
