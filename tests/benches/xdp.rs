//! What a packet costs in the XDP program, by `BPF_PROG_TEST_RUN` in repeat mode, beside a program that returns at once and
//! one that does a single look-up in a least-recently-used map and counts once.
//!
//! The kernel's own cost of a repetition is what the program that returns at once takes; it is taken off every other figure.
//! For the figure among a million receivers, a program in front gives the frame another source address each time (in an order
//! without a pattern) and calls the product's program; the same program in front of the one that returns at once is taken off.

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap as HashTable, ProgramArray},
    programs::{TestRun, TestRunOptions, Xdp as Program},
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
const FEEDBACK: u16 = 6001;

const AT_ONCE: &str = "returns at once (in ns)";
const LOOK_UP: &str = "one LRU look-up and one counter";

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
        .map_max_entries("LRU", 131_072)
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
    for name in ["at_once", "look_up", "shuffle"] {
        program_mut(&mut yardsticks, name)?.load()?;
    }
    let empty = best(|| yardstick(&yardsticks, "at_once", &rr, REPEAT))?;
    let look_up = best(|| yardstick(&yardsticks, "look_up", &rr, REPEAT))? - empty;
    let net =
        |packet: &[u8]| -> Result<f64, Failure> { Ok(best(|| Ok(xdp.run_on(packet, REPEAT)?.1 as f64))? - empty) };
    report.add("xdp.foreign_udp", net(&foreign)?, "ns", AT_ONCE, empty, "<= 30 ns");
    report.add("xdp.rr_known", net(&rr)?, "ns", LOOK_UP, look_up, "<= 80 ns and <= 1.6x");
    report.add("xdp.igmpv3_join", net(&join)?, "ns", LOOK_UP, look_up, "<= 120 ns");
    drop(xdp);
    among_a_million(report, &mut yardsticks, &rr)
}

fn among_a_million(report: &mut Report, yardsticks: &mut Ebpf, rr: &[u8]) -> Result<(), Failure> {
    // Room to spare: the kernel's free lists keep a part of the entries for each CPU.
    let mut xdp = Xdp::load(&Settings { receivers: RECEIVERS + RECEIVERS / 4, ..Settings::default() })?;
    prepare(&mut xdp)?;
    let mut next: ProgramArray<_> = ProgramArray::try_from(yardsticks.take_map("NEXT").ok_or("no NEXT")?)?;
    next.set(0, program_mut(yardsticks, "at_once")?.fd()?, 0)?;
    let front = best(|| yardstick(yardsticks, "shuffle", rr, REPEAT))?;
    next.set(0, xdp.program_fd()?, 0)?;
    // The first time round makes the receivers known.
    yardstick(yardsticks, "shuffle", rr, RECEIVERS + 1)?;
    let noted = xdp.counters()?.get(sender::xdp::Reason::NewReceiver);
    let value = best(|| yardstick(yardsticks, "shuffle", rr, REPEAT))? - front;
    let again = xdp.counters()?.get(sender::xdp::Reason::NewReceiver) - noted;
    if again > u64::from(RECEIVERS / 100) {
        return Err(format!("{again} of {noted} receivers were forgotten while measuring").into());
    }
    report.add("xdp.rr_1m_random", value, "ns", "the program in front alone", front, "<= 250 ns");
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

fn yardstick(ebpf: &Ebpf, name: &str, packet: &[u8], repeat: u32) -> Result<f64, Failure> {
    let program: &Program = ebpf.program(name).ok_or_else(|| format!("no program {name}"))?.try_into()?;
    let result = program.test_run(TestRunOptions { data_in: Some(packet), repeat, ..TestRunOptions::default() })?;
    if result.return_value != 2 {
        return Err(format!("the program {name} answered {} instead of XDP_PASS", result.return_value).into());
    }
    Ok(result.duration.as_nanos() as f64)
}

fn best(mut once: impl FnMut() -> Result<f64, Failure>) -> Result<f64, Failure> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        best = best.min(once()?);
    }
    Ok(best)
}
