//! Room `check`: a valid [`Config`] is held against this machine, its media and its keys.
//!
//! In: `Config`. Out: [`Ready`], all that a run needs, looked up and opened once; or all [`Problems`], and nothing was started.
//! [`Survey`] is the step between: what could be found out, printed as a table by `sender check` even if something is wrong.
//! Not done here: binding, attaching and allocating; what only those can show is their own error.

mod machine;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod titles;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::machine::Machine;
pub use self::titles::{ReadyTitle, SurveyedTitle};
use crate::{
    config::{Config, Problem, Problems, XskMode},
    netif::Interface,
};

/// What was found out about a configuration on this machine.
#[derive(Debug)]
pub struct Survey {
    config: Config,
    interface: Option<Interface>,
    titles: Vec<SurveyedTitle>,
    mode: XskMode,
    warnings: Vec<Problem>,
    problems: Problems,
}

/// All that a run needs.
#[derive(Debug)]
pub struct Ready {
    /// What was asked for.
    pub config: Config,
    /// The interface.
    pub interface: Interface,
    /// The mode asked for; [`XskMode::Socket`] instead of `Auto` where AF_XDP can't be had by this process.
    pub mode: XskMode,
    /// Source of IPv4 packets, there whenever a title needs it.
    pub source_v4: Option<Ipv4Addr>,
    /// Source of IPv6 packets, there whenever a title needs it.
    pub source_v6: Option<Ipv6Addr>,
    /// In the order of `config.titles`.
    pub titles: Vec<ReadyTitle>,
    /// To be logged.
    pub warnings: Vec<Problem>,
}

impl Ready {
    /// The source address for a title's packets.
    #[must_use]
    pub fn source(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 { self.source_v6.map(IpAddr::V6) } else { self.source_v4.map(IpAddr::V4) }
    }
}

/// Looks at the machine, opens the media, reads the keys.
#[must_use]
pub fn survey(config: Config) -> Survey {
    let machine = Machine::look(&config);
    Survey::new(config, machine)
}

/// Everything a run needs, or everything that is in its way.
///
/// # Errors
/// All problems found.
pub fn prepare(config: Config) -> Result<Ready, Problems> {
    survey(config).ready()
}

impl Survey {
    fn new(config: Config, machine: Machine) -> Survey {
        let mut problems = Problems::default();
        let mut warnings = config.warnings.clone();
        let mode = rules::mode(&config, &machine, &mut warnings);
        rules::machine(&config, &machine, mode, &mut problems, &mut warnings);
        let interface = machine.interface.ok();
        let titles = titles::open(&config, &mut problems);
        if let Some(interface) = &interface {
            rules::packets(&config, interface, &titles, &mut problems);
            rules::rate(&config, interface, &titles, &mut warnings);
        }
        problems.sort();
        Survey { config, interface, titles, mode, warnings, problems }
    }

    /// What is wrong.
    #[must_use]
    pub fn problems(&self) -> &Problems {
        &self.problems
    }

    /// What is legal, but better otherwise.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What a run needs.
    ///
    /// # Errors
    /// All problems found.
    pub fn ready(self) -> Result<Ready, Problems> {
        let titles: Option<Vec<ReadyTitle>> = self.titles.into_iter().map(SurveyedTitle::ready).collect();
        match (self.interface, titles) {
            (Some(interface), Some(titles)) if self.problems.is_empty() => Ok(Ready {
                source_v4: source_v4(&self.config, &interface),
                source_v6: source_v6(&self.config, &interface),
                config: self.config,
                interface,
                mode: self.mode,
                titles,
                warnings: self.warnings,
            }),
            _ => Err(self.problems),
        }
    }
}

fn source_v4(config: &Config, interface: &Interface) -> Option<Ipv4Addr> {
    config.network.source_v4.or_else(|| interface.ipv4.first().copied())
}

fn source_v6(config: &Config, interface: &Interface) -> Option<Ipv6Addr> {
    config.network.source_v6.or_else(|| interface.ipv6.first().copied())
}
