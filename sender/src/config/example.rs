//! `deploy/sender.example.toml` against the table of keys.

use super::{Absent, Config, SECTIONS};

const EXAMPLE: &str = include_str!("../../../deploy/sender.example.toml");

/// The lines of a section, `[[title]]` taken together.
fn section(name: &str) -> Vec<&'static str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in EXAMPLE.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{name}]") || line == format!("[[{name}]]");
        } else if inside {
            lines.push(line);
        }
    }
    lines
}

/// `key = value` of a line, and whether it stands behind a `#`. Text has a blank after its `#`.
fn assignment(line: &str) -> Option<(&str, &str, bool)> {
    let (line, commented) = line.strip_prefix('#').map_or((line, false), |rest| (rest, true));
    let (key, value) = line.split_once(" = ")?;
    key.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()).then_some((key, value, commented))
}

#[test]
fn every_key_is_documented_and_the_defaults_stated_are_the_codes() {
    for (name, keys) in SECTIONS {
        let lines = section(name);
        for key in *keys {
            let place = lines.iter().position(|line| assignment(line).is_some_and(|(found, ..)| found == key.name));
            let place = place.unwrap_or_else(|| panic!("[{name}] {} isn't in the example", key.name));
            let (_, value, commented) = assignment(lines[place]).unwrap();
            if let Absent::Is(default) = key.absent {
                assert!(commented, "[{name}] {} has a default: it stands behind a #", key.name);
                assert_eq!(value, default, "[{name}] {}", key.name);
            }
            let above =
                lines[..place].iter().rev().find(|line| assignment(line).is_none_or(|(.., commented)| !commented));
            assert!(above.is_some_and(|line| line.starts_with("# ")), "[{name}] {} has no text above it", key.name);
        }
    }
}

#[test]
fn the_example_has_no_key_that_the_code_does_not_have() {
    for (name, keys) in SECTIONS {
        for (found, ..) in section(name).into_iter().filter_map(assignment) {
            assert!(keys.iter().any(|key| key.name == found), "[{name}] {found}");
        }
    }
}

#[test]
fn the_example_is_valid_as_it_is_and_with_every_key_switched_on() {
    let file = std::path::Path::new("sender.toml");
    let config = Config::parse(file, EXAMPLE).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let all: String = EXAMPLE
        .lines()
        .map(|line| if assignment(line).is_some() { line.trim_start_matches('#') } else { line })
        .flat_map(|line| [line, "\n"])
        .collect();
    Config::parse(file, &all).unwrap_or_else(|problems| panic!("{problems}"));
}
