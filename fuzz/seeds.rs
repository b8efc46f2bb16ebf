//! Writes the seeds: one small packet of each kind, so that the fuzzer needn't find Ethernet and IP by itself.

use std::{fs, io, path::Path};

use sender_common::craft::{
    Craft, Record, bye, empty_report, igmp_message, membership_report, receiver_report, rtcp, source_description,
};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (target, seeds) in [("parser", frames()), ("rtcp", compounds())] {
        fs::create_dir_all(folder.join(target))?;
        for (name, octets) in seeds {
            fs::write(folder.join(target).join(name), octets)?;
        }
    }
    Ok(())
}

fn compounds() -> Vec<(&'static str, Vec<u8>)> {
    let feedback = rtcp(206, 1, &[0; 8]);
    vec![
        ("report", receiver_report(7, 1, 3, -1)),
        ("empty-report", empty_report(7)),
        ("sender-report", [rtcp(200, 0, &[0; 24]), source_description(7)].concat()),
        ("bye", [empty_report(7), bye(7)].concat()),
        ("feedback", [empty_report(7), feedback, bye(9)].concat()),
    ]
}

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = Craft::between("10.0.0.9", "10.0.0.1");
    let v6 = Craft::between("fe80::9", "ff02::16");
    let to_group = |group: &str| Craft::between("10.0.0.9", group);
    let record = |kind, group: &str, sources: &[&str]| Record {
        kind,
        group: group.parse().expect("a literal"),
        sources: sources.iter().map(|source| source.parse().expect("a literal")).collect(),
        auxiliary: 0,
    };
    let igmp3 = [record(4, "239.192.0.1", &[]), record(6, "239.192.0.2", &["10.0.0.1"])];
    let mld2 = [record(4, "ff3e::8000:1", &[]), record(3, "ff3e::8000:2", &["fd00::1"])];
    let report = receiver_report(7, 1, 3, -1);
    vec![
        ("report-v4", v4.udp(5005, 6001, &report)),
        ("report-tagged", v4.clone().vlan(0x88a8, 7).vlan(0x8100, 8).udp(5005, 6001, &report)),
        ("report-options", v4.clone().options(&[1; 8]).udp(5005, 6001, &report)),
        ("report-v6", Craft::between("fd00::9", "fd00::1").extension(60, &[0; 7]).udp(5005, 6001, &report)),
        ("fragment-v4", v4.clone().fragment(0x2000).udp(5005, 6001, &report)),
        ("fragment-v6", Craft::between("fd00::9", "fd00::1").extension(44, &[0; 7]).udp(5005, 6001, &report)),
        ("syn", v4.tcp(40_000, 554, 2)),
        ("igmpv2", to_group("239.192.0.1").igmp(&igmp_message(0x16, 0, [239, 192, 0, 1]))),
        ("igmpv3", to_group("224.0.0.22").igmp(&membership_report(true, &igmp3))),
        ("igmp-query", to_group("224.0.0.1").igmp(&[0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0])),
        ("mldv2", v6.mld(&membership_report(false, &mld2))),
        ("mld-query", v6.mld(&[130, 0, 0, 0, 39, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
    ]
}
