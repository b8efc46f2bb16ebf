//! What a packet costs in the XDP program, by `BPF_PROG_TEST_RUN` in repeat mode, beside a program that returns at once and
//! one that does a single look-up in a least-recently-used map and counts once.
//!
//! The kernel's own cost of a repetition is what the program that returns at once takes; it is taken off every other figure.
//! For the figure among a million receivers, a program in front gives the frame another source address each time (in an order
//! without a pattern) and calls the product's program; the same program in front of the one that returns at once is taken off.
//! Its yardstick is a single look-up and one counter, among as many and in the same order: nearly all of that figure is the
//! memory's, which has to fetch the table's bucket and its entry from where no cache reaches. Figure and yardstick take
//! turns, so that what else the machine does disturbs both.

use std::cell::RefCell;

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap as HashTable, ProgramArray},
    programs::{ProgramFd, TestRun, TestRunOptions, Xdp as Program},
};
use sender::xdp::{Settings, TitleEntry, TitleId, Xdp};
use sender_common::{
    Address, Receiver, ReceiverKey,
    craft::{Craft, Record, membership_report, receiver_report},
};

use crate::report::Report;

const REPEAT: u32 = 2_000_000;
/// The best of so many rounds: what the machine does beside makes it only worse.
const ROUNDS: usize = 5;
const RECEIVERS: u32 = 1 << 20;
/// Room to spare: the kernel's free lists keep a part of the entries for each CPU.
const ROOM: u32 = RECEIVERS + RECEIVERS / 4;
const FEEDBACK: u16 = 6001;

const AT_ONCE: &str = "returns at once (in ns)";
const LOOK_UP: &str = "one LRU look-up and one counter";
const LOOK_UP_1M: &str = "the same look-up among as many";

type Failure = Box<dyn std::error::Error>;

/// Measures, or says why it can't.
pub(crate) fn run(report: &mut Report) {
    if let Err(error) = measure(report) {
        report.skip("xdp", &error.to_string());
    }
}

fn measure(report: &mut Report) -> Result<(), Failure> {
    let mut xdp = Xdp::load(&Settings { receivers: 131_072, ..Settings::default() })?;
    prepare(&mut xdp)?;
    let mut yardsticks = EbpfLoader::new()
        .map_max_entries("LRU", ROOM)
        .load(sender::xdp::YARDSTICK)
        .map_err(|error| format!("can't load the yardsticks: {error}"))?;
    let viewer = Craft::between("10.0.0.9", "10.0.0.1");
    let rr = viewer.udp(5005, FEEDBACK, &receiver_report(7, 1, 0, 0));
    let foreign = viewer.udp(5005, 9999, &[0; 64]);
    let group = "239.192.0.1".parse()?;
    let record = Record { kind: 4, group, sources: vec![], auxiliary: 0 };
    let join = Craft::between("10.0.0.9", "224.0.0.22").igmp(&membership_report(true, &[record]));

    let mut lru: HashTable<_, ReceiverKey, Receiver> =
        HashTable::try_from(yardsticks.take_map("LRU").ok_or("no LRU")?)?;
    lru.insert(ReceiverKey::new(TitleId(0), Address::v4([10, 0, 0, 9]), 5005), Receiver::default(), 0)?;
    for name in ["at_once", "look_up", "look_up_or_insert", "shuffle"] {
        program_mut(&mut yardsticks, name)?.load()?;
    }
    let [empty, look_up, foreign, rr_known, join] = best([
        &mut || yardstick(&yardsticks, "at_once", &rr, REPEAT),
        &mut || yardstick(&yardsticks, "look_up", &rr, REPEAT),
        &mut || Ok(xdp.run_on(&foreign, REPEAT)?.1 as f64),
        &mut || Ok(xdp.run_on(&rr, REPEAT)?.1 as f64),
        &mut || Ok(xdp.run_on(&join, REPEAT)?.1 as f64),
    ])?;
    let look_up = look_up - empty;
    report.add("xdp.foreign_udp", foreign - empty, "ns", AT_ONCE, empty, "≤ 30 ns");
    report.add("xdp.rr_known", rr_known - empty, "ns", LOOK_UP, look_up, "≤ 80 ns and ≤ 1.6 ×");
    report.add("xdp.igmpv3_join", join - empty, "ns", LOOK_UP, look_up, "≤ 120 ns");
    drop(xdp);
    among_a_million(report, &mut yardsticks, &rr)
}

fn among_a_million(report: &mut Report, yardsticks: &mut Ebpf, rr: &[u8]) -> Result<(), Failure> {
    let mut xdp = Xdp::load(&Settings { receivers: ROOM, ..Settings::default() })?;
    prepare(&mut xdp)?;
    let next: ProgramArray<_> = ProgramArray::try_from(yardsticks.take_map("NEXT").ok_or("no NEXT")?)?;
    let next = RefCell::new(next);
    let shuffled = |to: &ProgramFd, repeat| -> Result<f64, Failure> {
        next.borrow_mut().set(0, to, 0)?;
        yardstick(yardsticks, "shuffle", rr, repeat)
    };
    let (product, look_up) = (xdp.program_fd()?, program(yardsticks, "look_up_or_insert")?.fd()?);
    // The first time round makes the receivers known.
    shuffled(product, RECEIVERS + 1)?;
    shuffled(look_up, RECEIVERS + 1)?;
    let noted = xdp.counters()?.get(sender::xdp::Reason::NewReceiver);
    let [front, floor, value] = best([
        &mut || shuffled(program(yardsticks, "at_once")?.fd()?, REPEAT),
        &mut || shuffled(look_up, REPEAT),
        &mut || shuffled(product, REPEAT),
    ])?;
    let again = xdp.counters()?.get(sender::xdp::Reason::NewReceiver) - noted;
    if again > u64::from(RECEIVERS / 100) {
        return Err(format!("{again} of {noted} receivers were forgotten while measuring").into());
    }
    report.add("xdp.rr_1m_random", value - front, "ns", LOOK_UP_1M, floor - front, "≤ 250 ns");
    Ok(())
}

fn prepare(xdp: &mut Xdp) -> Result<(), Failure> {
    let title = TitleEntry::new(TitleId(0), false, true);
    xdp.register_feedback(FEEDBACK, title)?;
    xdp.register_group("239.192.0.1".parse()?, 5005, title)?;
    Ok(())
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, Failure> {
    Ok(ebpf.program_mut(name).ok_or_else(|| format!("no program {name}"))?.try_into()?)
}

fn program<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a Program, Failure> {
    Ok(ebpf.program(name).ok_or_else(|| format!("no program {name}"))?.try_into()?)
}

fn yardstick(ebpf: &Ebpf, name: &str, packet: &[u8], repeat: u32) -> Result<f64, Failure> {
    let options = TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::default() };
    let result = program(ebpf, name)?.test_run(options)?;
    if result.return_value != 2 {
        return Err(format!("the program {name} answered {} instead of XDP_PASS", result.return_value).into());
    }
    Ok(result.duration.as_nanos() as f64)
}

/// Measures all in turn, several times, and answers the best of each.
fn best<const N: usize>(mut measurements: [&mut dyn FnMut() -> Result<f64, Failure>; N]) -> Result<[f64; N], Failure> {
    let mut best = [f64::INFINITY; N];
    for _ in 0..ROUNDS {
        for (best, measure) in best.iter_mut().zip(&mut measurements) {
            *best = best.min(measure()?);
        }
    }
    Ok(best)
}
