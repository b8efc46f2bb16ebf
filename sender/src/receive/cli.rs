//! The command line of `sender receive`, and the checks that turn it into [`Options`].

use super::error::ReceiveError;
use super::output::Target;
use super::reorder::Limits;
use super::session::Settings;
use super::timing::MIN_INTERVAL;
use crate::srtp::KeyFile;
use clap::Args;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Receive one copy of a title: join, report, decrypt, put in order, write.
#[derive(Args, Clone, Debug)]
pub struct ReceiveArgs {
    /// Group (or own unicast address) and RTP port; RTCP is one above
    #[arg(long, value_name = "ADDR:PORT")]
    pub group: SocketAddr,
    /// Interface to join on; not needed for a unicast address
    #[arg(long, short, value_name = "NAME")]
    pub interface: Option<String>,
    /// The sender's address: joins source-specifically (IGMPv3, MLDv2); without it from any source
    #[arg(long, value_name = "ADDR")]
    pub source: Option<IpAddr>,
    /// Where receiver reports go: the title's feedback address, or `group`; without it none are sent
    #[arg(long, value_name = "ADDR:PORT|group")]
    pub feedback: Option<String>,
    /// SRTP key file; without it the stream is taken as clear
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Receive only this SSRC (0x… or decimal); otherwise the first source, and a new one when that falls silent
    #[arg(long, value_parser = parse_u32)]
    pub ssrc: Option<u32>,
    /// The stream's rollover counter now, if it is beyond what a search finds (65535)
    #[arg(long, value_parser = parse_u32)]
    pub roc: Option<u32>,
    /// Where the media goes: a file, `-` for standard output, or udp://ADDR:PORT; without it nowhere
    #[arg(long, short, value_name = "FILE|-|udp://ADDR:PORT")]
    pub output: Option<String>,
    /// End after so many packets of media
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub packets: Option<u64>,
    /// End so long after the first packet of media: 30s, 1.5min
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub duration: Option<Duration>,
    /// Give up if no media has come by then; 0s waits for ever
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "10s")]
    pub timeout: Duration,
    /// End when the sender says BYE
    #[arg(long)]
    pub until_bye: bool,
    /// How long a missing packet is waited for before it counts as lost
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "200ms")]
    pub reorder_wait: Duration,
    /// How many packets the reorder buffer spans at most
    #[arg(long, value_name = "N", default_value = "16384", value_parser = clap::value_parser!(u64).range(1..=32768))]
    pub reorder_packets: u64,
    /// Bandwidth of the session, of which reports take 5 %: 4Mb/s; measured if not given
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub bandwidth: Option<u64>,
    /// Minimum interval of reports; RFC 3550 says 5s, shorter ones are for tests
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value = "5s")]
    pub report_minimum: Duration,
    /// Send the reports as SRTCP, with the key of --key-file
    #[arg(long, requires = "key_file")]
    pub protect_reports: bool,
    /// TTL or hop limit of the reports
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..))]
    pub ttl: u8,
    /// Canonical name in the reports; random if not given
    #[arg(long)]
    pub cname: Option<String>,
    /// Timestamp units per second
    #[arg(long, value_name = "HZ", default_value = "90000", value_parser = clap::value_parser!(u32).range(1..))]
    pub clock_rate: u32,
    /// Bytes of socket buffer asked of the kernel
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub receive_buffer: usize,
    /// Write the figures to this file at the end, as JSON
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write the figures to this file once a second, as JSON; each time as a whole
    #[arg(long, value_name = "FILE")]
    pub status: Option<PathBuf>,
    /// No progress on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// Where reports go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Nowhere.
    None,
    /// To the feedback target (RFC 5760).
    Unicast(SocketAddr),
    /// To everybody in the group.
    Group,
}

/// A checked command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// RTP address.
    pub group: SocketAddr,
    /// Interface, name and index.
    pub interface: Option<(String, u32)>,
    /// Source of a source-specific join.
    pub source: Option<IpAddr>,
    /// Where reports go.
    pub feedback: Feedback,
    /// Where media goes.
    pub output: Target,
    /// End after so many packets.
    pub packets: Option<u64>,
    /// End so long after the first packet.
    pub duration: Option<Duration>,
    /// Give up after so long without media.
    pub timeout: Option<Duration>,
    /// End with the sender's BYE.
    pub until_bye: bool,
    /// TTL of reports.
    pub ttl: u8,
    /// Socket buffer, bytes.
    pub receive_buffer: usize,
    /// Figures at the end.
    pub summary: Option<PathBuf>,
    /// Figures every second.
    pub status: Option<PathBuf>,
    /// Whether to show progress, and whether on a terminal.
    pub progress: Option<bool>,
    /// The session's settings.
    pub session: Settings,
}

impl ReceiveArgs {
    /// Checks the arguments as far as that is possible without opening a socket; reads the key file and draws this
    /// receiver's SSRC and name.
    pub fn check(&self) -> Result<Options, ReceiveError> {
        let interface = self.check_addresses()?;
        let key = self.key_file.as_deref().map(KeyFile::read).transpose()?;
        let mut random = [0; 24];
        getrandom::fill(&mut random)
            .map_err(|error| ReceiveError::Io { what: "the system's random source", source: error.into() })?;
        let (number, name) = random.split_at(12);
        let own_ssrc = number.first_chunk().map_or(1, |bytes| u32::from_be_bytes(*bytes));
        let seed = number.last_chunk().map_or(1, |bytes| u64::from_be_bytes(*bytes));
        // RFC 7022 4.2: 96 random bits name this session and nobody's host.
        let random_name = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut session = Settings::new(own_ssrc, self.cname.clone().unwrap_or(random_name), seed);
        session.ssrc = self.ssrc;
        session.key = key;
        session.roc = self.roc;
        session.clock_rate = self.clock_rate;
        session.limits = Limits { wait: nanos(self.reorder_wait), packets: self.reorder_packets, ..Limits::default() };
        session.reports.bandwidth = self.bandwidth;
        session.reports.overhead = if self.group.is_ipv4() { 28 } else { 48 };
        session.reports.minimum = nanos(self.report_minimum).clamp(1_000_000, 100 * MIN_INTERVAL);
        session.reports.protect = self.protect_reports;
        Ok(Options {
            group: self.group,
            interface,
            source: self.source,
            feedback: self.check_feedback()?,
            output: Target::parse(self.output.as_deref())?,
            packets: self.packets,
            duration: self.duration,
            timeout: Some(self.timeout).filter(|timeout| !timeout.is_zero()),
            until_bye: self.until_bye,
            ttl: self.ttl,
            receive_buffer: self.receive_buffer,
            summary: self.summary.clone(),
            status: self.status.clone(),
            progress: (!self.quiet).then(|| std::io::stderr().is_terminal()),
            session,
        })
    }

    fn check_addresses(&self) -> Result<Option<(String, u32)>, ReceiveError> {
        let group = self.group;
        if group.port() == 0 || group.port() == u16::MAX {
            let reason = "RTP needs a port from 1 to 65534, since RTCP takes the one above";
            return Err(argument("--group", &group, reason, "Give the RTP port of the title, an even number."));
        }
        if let Some(source) = self.source {
            if source.is_ipv4() != group.is_ipv4() {
                let reason = format!("is not of the family of the group {}", group.ip());
                return Err(argument("--source", &source, reason, "Give the sender's address of the group's family."));
            }
            if source.is_multicast() || source.is_unspecified() {
                let remedy = "Give the sender's unicast address, or leave --source out.";
                return Err(argument("--source", &source, "cannot be where packets come from", remedy));
            }
        }
        if group.ip().is_multicast() && self.source.is_none() && is_source_specific(group.ip()) {
            let reason = "is a source-specific group (RFC 4607): it can only be joined together with a source";
            return Err(argument("--group", &group, reason, "Add --source with the sender's address."));
        }
        let Some(name) = &self.interface else {
            if !group.ip().is_multicast() {
                return Ok(None);
            }
            let reason = "is a multicast group, and no interface is given to join it on";
            return Err(argument("--group", &group, reason, interfaces()));
        };
        match nix::net::if_::if_nametoindex(name.as_str()) {
            Ok(index) => Ok(Some((name.clone(), index))),
            Err(_) => Err(argument("--interface", name, "there is no such interface", interfaces())),
        }
    }

    fn check_feedback(&self) -> Result<Feedback, ReceiveError> {
        let Some(text) = &self.feedback else { return Ok(Feedback::None) };
        if text == "group" {
            if self.group.ip().is_multicast() {
                return Ok(Feedback::Group);
            }
            let reason = "the reports cannot go to the group, since --group is a unicast address";
            return Err(argument("--feedback", text, reason, "Give the sender's feedback address and port."));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 || address.ip().is_multicast() || address.ip().is_unspecified() => {
                let remedy = "Give the sender's unicast address and the title's feedback port, or `group`.";
                Err(argument("--feedback", text, "is not an address that reports can be sent to", remedy))
            }
            Ok(address) => Ok(Feedback::Unicast(address)),
            Err(_) => {
                let remedy = "Give it as 10.0.0.1:6001, [fd00::1]:6001 or `group`.";
                Err(argument("--feedback", text, "is not an address with a port", remedy))
            }
        }
    }
}

/// An [`ReceiveError::Argument`].
pub(super) fn argument(
    option: &'static str,
    value: &dyn std::fmt::Display,
    reason: impl Into<String>,
    remedy: impl Into<String>,
) -> ReceiveError {
    ReceiveError::Argument { option, value: value.to_string(), reason: reason.into(), remedy: remedy.into() }
}

/// 232/8 and FF3x::/32 (RFC 4607 section 1).
fn is_source_specific(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets()[0] == 232,
        IpAddr::V6(group) => group.segments()[0] & 0xfff0 == 0xff30 && group.segments()[1] == 0,
    }
}

fn interfaces() -> String {
    let names: Vec<String> = nix::net::if_::if_nameindex()
        .map(|all| all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    format!("Give --interface one of: {}", names.join(", "))
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn parse_u32(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "expected a number from 0 to 4294967295, decimal or 0x…".into())
}

/// A number with one of the units; the units' factors are whole numbers.
fn parse_quantity(text: &str, units: &[(&str, f64)], example: &str) -> Result<f64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number.parse::<f64>(), factor) {
        (Ok(number), Some(factor)) if number * factor < 1e18 => Ok(number * factor),
        _ => Err(format!("expected a number with a unit, such as {example}")),
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let units = [("h", 3.6e12), ("min", 6e10), ("s", 1e9), ("ms", 1e6), ("us", 1e3)];
    parse_quantity(text, &units, "30s (us, ms, s, min, h)").map(|nanos| Duration::from_nanos(nanos.round() as u64))
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let units = [("Gb/s", 1e9), ("Mb/s", 1e6), ("kb/s", 1e3), ("b/s", 1.0)];
    let rate = parse_quantity(text, &units, "8Mb/s (b/s, kb/s, Mb/s, Gb/s)")?;
    if rate < 1.0 { Err("expected at least 1b/s".into()) } else { Ok(rate.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ReceiveArgs,
    }

    fn parse(line: &str) -> Result<ReceiveArgs, clap::Error> {
        Command::try_parse_from(std::iter::once("receive").chain(line.split(' '))).map(|command| command.args)
    }

    fn check(line: &str) -> Result<Options, ReceiveError> {
        parse(line).expect("clap takes it").check()
    }

    #[test]
    fn a_full_command_line_is_taken() {
        let options = check(
            "--interface lo --group 239.192.0.1:5004 --source 10.0.0.1 --feedback 10.0.0.1:6001 --ssrc 0xCAFE \
             --output udp://127.0.0.1:1234 --duration 1.5min --packets 7 --reorder-wait 50ms --bandwidth 4Mb/s --quiet",
        )
        .expect("all is well");
        assert_eq!(options.interface.map(|(name, _)| name), Some("lo".into()));
        assert_eq!(options.feedback, Feedback::Unicast("10.0.0.1:6001".parse().expect("an address")));
        assert_eq!((options.session.ssrc, options.session.reports.bandwidth), (Some(0xcafe), Some(4_000_000)));
        assert_eq!((options.duration, options.packets), (Some(Duration::from_secs(90)), Some(7)));
        assert_eq!(options.session.limits.wait, 50_000_000);
        assert_eq!(options.output, Target::Udp("127.0.0.1:1234".parse().expect("an address")));
        assert_eq!(options.progress, None);
        assert_eq!(options.session.reports.cname.len(), 24);
    }

    #[test]
    fn bad_arguments_name_the_option_the_value_and_the_remedy_and_exit_with_2() {
        for (line, words) in [
            ("--group 239.1.1.1:5004", ["--group", "239.1.1.1:5004", "--interface one of: "]),
            ("--group 239.1.1.1:5004 -i nosuch0", ["--interface", "nosuch0", "lo"]),
            ("--group 239.1.1.1:65535 -i lo", ["--group", "65535", "RTCP"]),
            ("--group 232.1.1.1:5004 -i lo", ["--group", "source-specific", "--source"]),
            ("--group [ff3e::1]:5004 -i lo", ["--group", "source-specific", "--source"]),
            ("--group 239.1.1.1:5004 -i lo --source ::1", ["--source", "::1", "family"]),
            ("--group 239.1.1.1:5004 -i lo --source 224.0.0.1", ["--source", "224.0.0.1", "unicast"]),
            ("--group 239.1.1.1:5004 -i lo --feedback x", ["--feedback", "x", "10.0.0.1:6001"]),
            ("--group 239.1.1.1:5004 -i lo --feedback 239.0.0.1:1", ["--feedback", "239.0.0.1:1", "unicast"]),
            ("--group 127.0.0.1:5004 --feedback group", ["--feedback", "group", "unicast"]),
            ("--group 127.0.0.1:5004 -o udp://x", ["--output", "udp://x", "udp://127.0.0.1:1234"]),
            ("--group 127.0.0.1:5004 --key-file /nowhere", ["--key-file", "/nowhere", ""]),
        ] {
            let error = check(line).expect_err(line);
            let text = error.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{line}: {text}");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_the_parser() {
        for line in [
            "",
            "--group 239.1.1.1",
            "--group x:5",
            "--group 127.0.0.1:5 --duration 5",
            "--group 127.0.0.1:5 --duration xs",
            "--group 127.0.0.1:5 --packets 0",
            "--group 127.0.0.1:5 --ssrc 0x1ffffffff",
            "--group 127.0.0.1:5 --bandwidth 0b/s",
            "--group 127.0.0.1:5 --bandwidth 5",
            "--group 127.0.0.1:5 --reorder-packets 40000",
            "--group 127.0.0.1:5 --protect-reports",
        ] {
            let error = parse(line).err().unwrap_or_else(|| panic!("{line} was taken"));
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
