//! Reads sections of a TOML document key by key and collects everything that is wrong instead of stopping at the first.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{Absent, KeySpec},
    problem::{Fault, Problem, Problems},
    values::nearest,
};

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `[network]`
    Network,
    /// `[transmit]`
    Transmit,
    /// `[rtcp]`
    Rtcp,
    /// `[log]`
    Log,
    /// The n-th `[[title]]`, from 0.
    Title(usize),
}

/// Where every value was written, so that what turns out wrong later can still name its line.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    file: PathBuf,
    written: HashMap<(Section, &'static str), (Option<usize>, String)>,
    headers: HashMap<Section, usize>,
    titles: HashMap<usize, String>,
}

impl Origins {
    /// A problem with the value of `key`, at the place where it is written.
    #[must_use]
    pub fn problem(&self, section: Section, key: &'static str, fault: Fault) -> Problem {
        let (line, value) = match self.written.get(&(section, key)) {
            Some((line, value)) if line.is_some() => (*line, Some(value.clone())),
            Some((_, value)) => (self.header(section), Some(format!("{value} (the default)"))),
            None => (self.header(section), None),
        };
        Problem {
            file: self.file.clone(),
            line,
            key: self.label(section, key),
            value,
            what: fault.what,
            remedy: fault.remedy,
        }
    }

    /// A problem that concerns no single key.
    #[must_use]
    pub fn general(&self, fault: Fault) -> Problem {
        Problem {
            file: self.file.clone(),
            line: None,
            key: String::new(),
            value: None,
            what: fault.what,
            remedy: fault.remedy,
        }
    }

    /// `line 12` of a key, for messages about a clash with it.
    pub(super) fn line(&self, section: Section, key: &'static str) -> String {
        let line = self.written.get(&(section, key)).and_then(|(line, _)| *line).or_else(|| self.header(section));
        line.map_or_else(|| "by default".to_owned(), |line| format!("line {line}"))
    }

    /// Whether a key stands in the file.
    pub(super) fn is_written(&self, section: Section, key: &'static str) -> bool {
        self.written.get(&(section, key)).is_some_and(|(line, _)| line.is_some())
    }

    fn header(&self, section: Section) -> Option<usize> {
        self.headers.get(&section).copied()
    }

    fn label(&self, section: Section, key: &str) -> String {
        let section = match section {
            Section::Network => "[network]".to_owned(),
            Section::Transmit => "[transmit]".to_owned(),
            Section::Rtcp => "[rtcp]".to_owned(),
            Section::Log => "[log]".to_owned(),
            Section::Title(n) => match self.titles.get(&n) {
                Some(name) => format!("title {name:?}:"),
                None => format!("[[title]] number {}:", n + 1),
            },
        };
        if key.is_empty() { section } else { format!("{section} {key}") }
    }
}

/// The document being read and what was found wrong in it.
pub(super) struct Document<'t> {
    text: &'t str,
    /// Where each line ends: with many titles a line is looked up many times.
    line_ends: Vec<usize>,
    pub(super) origins: Origins,
    pub(super) problems: Problems,
}

impl<'t> Document<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Document<'t> {
        Document {
            text,
            line_ends: text.match_indices('\n').map(|(offset, _)| offset).collect(),
            origins: Origins { file: file.to_owned(), ..Origins::default() },
            problems: Problems::default(),
        }
    }

    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// The value as it is written, on one line and not too long.
    fn excerpt(&self, span: std::ops::Range<usize>) -> String {
        const LONGEST: usize = 60;
        let words: Vec<&str> = self.text.get(span).unwrap_or_default().split_whitespace().collect();
        let text = words.join(" ");
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    pub(super) fn fault(&mut self, section: Section, key: &'static str, fault: Fault) {
        self.problems.push(self.origins.problem(section, key, fault));
    }

    /// Something wrong at a place of the text that is no known key.
    pub(super) fn fault_at(&mut self, offset: usize, key: String, fault: Fault) {
        let line = Some(self.line_of(offset));
        self.problems.push(Problem {
            file: self.origins.file.clone(),
            line,
            key,
            value: None,
            what: fault.what,
            remedy: fault.remedy,
        });
    }

    /// Names every key of `table` that `known` doesn't have, with the nearest one that it has.
    pub(super) fn refuse_unknown(&mut self, label: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let remedy = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let label = if label.is_empty() { name.to_owned() } else { format!("{label} {name}") };
            self.fault_at(key.span().start, label, Fault::new("there is no such key", remedy));
        }
    }
}

/// One section while its keys are read.
pub(super) struct Reader<'d, 't, 'v> {
    pub(super) document: &'d mut Document<'t>,
    section: Section,
    table: Option<&'v DeTable<'v>>,
    keys: &'static [KeySpec],
}

impl<'d, 't, 'v> Reader<'d, 't, 'v> {
    /// Begins a section: notes where it stands, and refuses keys that it doesn't have. A missing section is an empty one.
    pub(super) fn new(
        document: &'d mut Document<'t>,
        section: Section,
        keys: &'static [KeySpec],
        value: Option<&'v Spanned<DeValue<'v>>>,
    ) -> Reader<'d, 't, 'v> {
        let mut table = None;
        if let Some(value) = value {
            document.origins.headers.insert(section, document.line_of(value.span().start));
            table = value.get_ref().as_table();
            if let Section::Title(n) = section
                && let Some(name) = table.and_then(|table| table.get("name")).and_then(|name| name.get_ref().as_str())
            {
                document.origins.titles.insert(n, name.to_owned());
            }
            if table.is_none() {
                let fault =
                    Fault::new("this is no section", "write the section's keys below its header, one on a line");
                document.fault(section, "", fault);
            }
        }
        if let Some(table) = table {
            let known: Vec<&str> = keys.iter().map(|key| key.name).collect();
            let label = document.origins.label(section, "");
            document.refuse_unknown(&label, table, &known);
        }
        Reader { document, section, table, keys }
    }

    /// Reads a key that is required or has a default. `None` after a problem was noted.
    pub(super) fn read<T>(&mut self, key: &'static str, parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>) -> Option<T> {
        if self.written(key) {
            return self.read_if_written(key, parse);
        }
        match self.spec(key).absent {
            Absent::Is(default) => {
                self.document.origins.written.insert((self.section, key), (None, default.to_owned()));
                let value = DeValue::parse(default).expect("defaults are valid TOML: held by a test over the table");
                parse(value.get_ref()).map_err(|fault| self.document.fault(self.section, key, fault)).ok()
            }
            Absent::Refused | Absent::Derived(_) => {
                self.document.fault(self.section, key, Fault::new("this key is missing", format!("write {key} = …")));
                None
            }
        }
    }

    /// Reads a key that may be missing: `Some(None)` if it is, `None` after a problem was noted.
    pub(super) fn read_optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
    ) -> Option<Option<T>> {
        if self.written(key) { self.read_if_written(key, parse).map(Some) } else { Some(None) }
    }

    /// Whether the key stands in the file.
    pub(super) fn written(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    pub(super) fn fault(&mut self, key: &'static str, fault: Fault) {
        self.document.fault(self.section, key, fault);
    }

    fn read_if_written<T>(&mut self, key: &'static str, parse: impl Fn(&DeValue<'_>) -> Result<T, Fault>) -> Option<T> {
        let key = self.spec(key).name;
        let value = self.table?.get(key)?;
        let line = self.document.line_of(value.span().start);
        let excerpt = self.document.excerpt(value.span());
        self.document.origins.written.insert((self.section, key), (Some(line), excerpt));
        parse(value.get_ref()).map_err(|fault| self.document.fault(self.section, key, fault)).ok()
    }

    fn spec(&self, key: &str) -> KeySpec {
        *self.keys.iter().find(|spec| spec.name == key).expect("every key that is read stands in the table of keys")
    }
}

/// What kind of value was met, with its article.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn mismatch(value: &DeValue<'_>, wanted: &str, example: &str) -> Fault {
    Fault::new(format!("{wanted} is expected here, not {}", kind(value)), format!("write it like {example}"))
}

/// A whole number.
pub(super) fn integer(value: &DeValue<'_>) -> Result<i64, Fault> {
    let number = value.as_integer().ok_or_else(|| mismatch(value, "a whole number", "8, without quotes"))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Fault::new("this number is too large", "use a smaller one"))
}

/// A whole number within bounds.
pub(super) fn integer_in(value: &DeValue<'_>, least: i64, most: i64) -> Result<i64, Fault> {
    let number = integer(value)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Fault::new("this is out of range", format!("use {least} to {most}")))
    }
}

/// true or false.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| mismatch(value, "true or false", "true, without quotes"))
}

/// A string.
pub(super) fn text<'a>(value: &'a DeValue<'_>, example: &str) -> Result<&'a str, Fault> {
    value.as_str().ok_or_else(|| mismatch(value, "a string", example))
}

/// A string that becomes a `T`. `example` is shown when it isn't even a string.
pub(super) fn parsed<T: std::str::FromStr<Err = Fault>>(value: &DeValue<'_>, example: &str) -> Result<T, Fault> {
    text(value, example)?.parse()
}

/// A list, its items each read by `item`. The first bad item is named with its place in the list.
pub(super) fn list<T>(
    value: &DeValue<'_>,
    example: &str,
    item: impl Fn(&DeValue<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let items = value.as_array().ok_or_else(|| mismatch(value, "a list", example))?;
    let read = items.iter().enumerate().map(|(i, value)| {
        item(value.get_ref()).map_err(|fault| Fault::new(format!("item {}: {}", i + 1, fault.what), fault.remedy))
    });
    read.collect()
}
