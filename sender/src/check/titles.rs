//! Opens each title's media and reads its key, once for all titles that share a file.

use std::{collections::HashMap, path::Path, sync::Arc};

use crate::{
    config::{Config, Fault, Nanos, Problems, Section, Stagger, Title},
    media::Loop,
    srtp::{KeyFile, KeyFileError},
};

/// A title with its media opened and its key read: what the engine needs beside the configuration.
#[derive(Debug)]
pub struct ReadyTitle {
    /// The media.
    pub media: Arc<Loop>,
    /// The SRTP master key, `None`: sent in clear. Its MKI is there exactly if the title wants one.
    pub key: Option<KeyFile>,
    /// Time between neighbouring copies; copies × stagger ≤ duration of the loop.
    pub stagger: Nanos,
}

/// What could be found out about a title.
#[derive(Debug)]
pub struct SurveyedTitle {
    media: Option<Arc<Loop>>,
    stagger: Option<Nanos>,
    /// `None`: it couldn't be read; `Some(None)`: there is none.
    key: Option<Option<KeyFile>>,
}

impl SurveyedTitle {
    pub(super) fn ready(self) -> Option<ReadyTitle> {
        Some(ReadyTitle { media: self.media?, key: self.key?, stagger: self.stagger? })
    }

    pub(super) fn stagger(&self) -> Option<Nanos> {
        self.stagger
    }

    pub(super) fn duration(&self) -> Option<Nanos> {
        self.media.as_ref().map(|media| Nanos::from_nanos(media.duration().to_nanos()))
    }

    pub(super) fn packets(&self) -> Option<u64> {
        self.media.as_ref().map(|media| media.packets_per_pass())
    }

    pub(super) fn max_payload(&self) -> Option<u64> {
        self.media.as_ref().map(|media| media.max_payload_len() as u64)
    }

    /// Bits per second of one copy at the port, with all headers, the frame check sequence, preamble and gap.
    pub(super) fn copy_rate(&self, title: &Title) -> Option<u64> {
        const ETHERNET: u64 = 14 + 4 + 8 + 12;
        let ip = if title.is_ipv6() { 40 } else { 20 };
        let packet = ETHERNET + ip + 8 + 12 + self.max_payload()? + super::rules::srtp_overhead(title);
        let bits = u128::from(packet * 8) * u128::from(self.packets()?);
        let nanos = u128::from(self.duration()?.nanos().max(1));
        u64::try_from(bits * 1_000_000_000 / nanos).ok()
    }

    /// Bits per second of all copies at the port.
    pub(super) fn port_rate(&self, title: &Title) -> Option<u64> {
        self.copy_rate(title)?.checked_mul(title.copies() as u64)
    }
}

/// All titles, in the configuration's order.
pub(super) fn open(config: &Config, problems: &mut Problems) -> Vec<SurveyedTitle> {
    let mut opened: HashMap<&Path, Result<Arc<Loop>, Fault>> = HashMap::new();
    let survey_one = |(n, title): (usize, &Title)| {
        let mut problem = |key, fault| problems.push(config.origins.problem(Section::Title(n), key, fault));
        let file = config.titles[n].file.as_path();
        let media = opened.entry(file).or_insert_with(|| open_media(file)).clone();
        let media = media.map_err(|fault| problem("file", fault)).ok();
        let stagger = media.as_ref().and_then(|media| {
            let duration = Nanos::from_nanos(media.duration().to_nanos());
            stagger(title, duration).map_err(|fault| problem("stagger", fault)).ok()
        });
        let key = match &title.key_file {
            None => Some(None),
            Some(path) => read_key(path, title.mki).map_err(|(key, fault)| problem(key, fault)).ok().map(Some),
        };
        SurveyedTitle { media, stagger, key }
    };
    config.titles.iter().enumerate().map(survey_one).collect()
}

fn open_media(path: &Path) -> Result<Arc<Loop>, Fault> {
    Loop::open(path).map(Arc::new).map_err(|error| split(&error.to_string()))
}

/// A room's error says what is wrong, and the remedy after a semicolon.
fn split(error: &str) -> Fault {
    let (what, remedy) = error.split_once("; ").unwrap_or((error, "use another file"));
    Fault::new(what, remedy)
}

/// The time between copies, so that all of them fit into one loop.
fn stagger(title: &Title, duration: Nanos) -> Result<Nanos, Fault> {
    let copies = title.copies() as u64;
    let even = Nanos::from_nanos(duration.nanos() / copies);
    match title.stagger {
        Stagger::Auto => Ok(even),
        Stagger::Every(time) if time <= even => Ok(time),
        Stagger::Every(time) => {
            let seconds = super::table::duration(duration);
            let what = format!("{copies} copies {time} apart are longer than the loop of {seconds}");
            let remedy = format!("use at most {} or \"auto\", or fewer copies", super::table::duration(even));
            Err(Fault::new(what, remedy))
        }
    }
}

/// The key, with its identifier exactly if one is wanted. An error comes with the key of the configuration it concerns.
fn read_key(path: &Path, mki: bool) -> Result<KeyFile, (&'static str, Fault)> {
    let key = KeyFile::read(path).map_err(|error| ("key_file", key_fault(&error)))?;
    match (mki, key.mki) {
        (true, None) => {
            let what = format!("the key in {} has no identifier", path.display());
            Err(("mki", Fault::new(what, "write mki = false, or make a key that has one with `sender key new FILE`")))
        }
        (true, Some(_)) => Ok(key),
        (false, _) => Ok(KeyFile { mki: None, ..key }),
    }
}

fn key_fault(error: &KeyFileError) -> Fault {
    match error {
        KeyFileError::Read { path, source } => Fault::new(
            format!("the key file can't be read: {source}"),
            format!("make one with `sender key new {}`, or leave out key_file to send in clear", path.display()),
        ),
        KeyFileError::TooOpen { path, mode } => Fault::new(
            format!("the key file is open to other users (mode {mode:04o})"),
            format!("run `chmod 600 {}`, and make a new key if it may have been read", path.display()),
        ),
        other => split(&other.to_string()),
    }
}
