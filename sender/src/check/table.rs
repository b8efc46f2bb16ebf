//! What would run, as a table for people.

use std::fmt::{self, Write as _};

use super::{Survey, source_v4, source_v6};
use crate::config::{ByteSize, FRAME_SIZE, Nanos, Stagger, Title};

/// `2.1 Mb/s`.
pub(super) fn rate(bits: u64) -> String {
    scaled(bits, &[("Gb/s", 1e9), ("Mb/s", 1e6), ("kb/s", 1e3), ("b/s", 1.0)])
}

/// `12.5 MiB`.
fn size(bytes: u64) -> String {
    scaled(bytes, &[("GiB", 1073741824.0), ("MiB", 1048576.0), ("KiB", 1024.0), ("B", 1.0)])
}

/// `1 title`, `2 titles`, `3 copies`.
pub(super) fn count(n: usize, one: &str) -> String {
    match (n, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        (_, None) => format!("{n} {one}s"),
    }
}

fn scaled(value: u64, units: &[(&str, f64)]) -> String {
    let value = value as f64;
    let (unit, factor) = units.iter().find(|(_, factor)| value >= *factor).unwrap_or(&units[units.len() - 1]);
    let digits = if *factor == 1.0 { 0 } else { 1 };
    format!("{:.digits$} {unit}", value / factor)
}

/// `12.480 s`, `1:02:03` from an hour on.
pub(super) fn duration(time: Nanos) -> String {
    let seconds = time.nanos() / 1_000_000_000;
    if seconds >= 3600 {
        return format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    format!("{}.{:03} s", seconds, time.nanos() / 1_000_000 % 1000)
}

const HEADER: [&str; 9] = ["TITLE", "DURATION", "RATE", "COPIES", "STAGGER", "GROUPS", "PORTS", "FEEDBACK", "KEY"];

impl fmt::Display for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_machine(f)?;
        let mut rows = vec![HEADER.map(str::to_owned)];
        rows.extend(self.config.titles.iter().enumerate().map(|(n, title)| self.row(n, title)));
        let widths: Vec<usize> = (0..HEADER.len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        writeln!(f)?;
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Survey {
    fn write_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, transmit, rtcp) = (&self.config.network, &self.config.transmit, &self.config.rtcp);
        let copies: usize = self.config.titles.iter().map(Title::copies).sum();
        let all = self.config.titles.iter().zip(&self.titles);
        // A sum that leaves out what could not be opened would be wrong, not small.
        let bits: Option<u64> = all.map(|(title, surveyed)| surveyed.port_rate(title)).sum();
        let titles = self.config.titles.len();
        writeln!(
            f,
            "{}: {}, {}, {} at the port",
            self.config.file.display(),
            count(titles, "title"),
            count(copies, "copy"),
            bits.map_or_else(|| "?".to_owned(), rate)
        )?;
        writeln!(f)?;
        let queues: Vec<String> = network.queues.iter().map(ToString::to_string).collect();
        match &self.interface {
            Some(interface) => {
                let driver = interface.driver.as_deref().unwrap_or("unknown driver");
                let speed = interface.speed.map_or_else(|| "speed unknown".to_owned(), rate);
                let state = match (interface.up, interface.carrier) {
                    (true, true) => "up",
                    (true, false) => "no link",
                    (false, _) => "down",
                };
                let (name, mtu) = (&interface.name, interface.mtu);
                writeln!(f, "interface  {name} ({driver}, {speed}, MTU {mtu}, {state}), queues {}", queues.join(", "))?;
                let v4 = source_v4(&self.config, interface).map(|ip| ip.to_string());
                let v6 = source_v6(&self.config, interface).map(|ip| ip.to_string());
                let sources: Vec<String> = v4.into_iter().chain(v6).collect();
                writeln!(f, "source     {}", if sources.is_empty() { "none".to_owned() } else { sources.join(", ") })?;
            }
            None => writeln!(f, "interface  {} (not found), queues {}", network.interface, queues.join(", "))?,
        }
        let asked = if self.mode == network.mode { String::new() } else { format!(" ({} asked for)", network.mode) };
        writeln!(f, "mode       {}{asked}, XDP {}", self.mode, network.xdp)?;
        let packets: Option<u64> = self.titles.iter().map(super::SurveyedTitle::packets).sum();
        let total = transmit.umem.bytes().saturating_mul(network.queues.len() as u64);
        writeln!(
            f,
            "umem       {} for each of {}; all titles at once need {} of {}",
            transmit.umem,
            count(network.queues.len(), "queue"),
            packets.map_or_else(|| "?".to_owned(), |packets| size(packets.saturating_mul(FRAME_SIZE))),
            size(ByteSize::from_bytes(total).bytes()),
        )?;
        writeln!(f, "reports    sent every {}, receivers silent for {} are gone", rtcp.interval, rtcp.report_timeout)
    }

    fn row(&self, n: usize, title: &Title) -> [String; HEADER.len()] {
        let unknown = || "?".to_owned();
        let surveyed = &self.titles[n];
        let groups = match &title.groups[..] {
            [only] => only.to_string(),
            [first, .., last] => {
                let consecutive = first.following(title.groups.len() as u32 - 1).is_some_and(|end| end == *last);
                format!("{first} {} {last}", if consecutive { "–" } else { "…" })
            }
            [] => unknown(),
        };
        let key = match &title.key_file {
            None => "clear".to_owned(),
            Some(path) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if title.mki { format!("{name}, MKI") } else { name.into_owned() }
            }
        };
        let auto = if title.stagger == Stagger::Auto { " (auto)" } else { "" };
        [
            title.name.to_string(),
            surveyed.duration().map_or_else(unknown, duration),
            surveyed.copy_rate(title).map_or_else(unknown, rate),
            title.copies().to_string(),
            surveyed.stagger().map_or_else(unknown, |time| format!("{}{auto}", duration(time))),
            groups,
            format!("{}, {}", title.port.rtp(), title.port.rtcp()),
            title.feedback_port.to_string(),
            key,
        ]
    }
}
