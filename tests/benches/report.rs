//! The benchmark's figures: one table for people, one JSON file for machines.

use std::{io, path::Path};

/// One figure beside its yardstick.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    yardstick: String,
    yardstick_value: f64,
    goal: String,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    skipped: Vec<(String, String)>,
}

impl Report {
    /// Adds a figure, measured in the same run as its yardstick. `goal`: in words and figures, for the table.
    pub(crate) fn add(
        &mut self,
        name: &str,
        value: f64,
        unit: &'static str,
        yardstick: &str,
        yardstick_value: f64,
        goal: &str,
    ) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            unit,
            yardstick: yardstick.to_owned(),
            yardstick_value,
            goal: goal.to_owned(),
        });
    }

    /// Says that a figure could not be measured, and why.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.to_owned(), reason.to_owned()));
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!(
            "{:<26} {:>12} {:<8} {:<44} {:>12} {:>7}  goal",
            "figure", "value", "unit", "yardstick", "value", "ratio"
        );
        for f in &self.figures {
            println!(
                "{:<26} {:>12.1} {:<8} {:<44} {:>12.1} {:>7.2}  {}",
                f.name,
                f.value,
                f.unit,
                f.yardstick,
                f.yardstick_value,
                ratio(f),
                f.goal
            );
        }
        for (name, reason) in &self.skipped {
            println!("{name:<26} SKIPPED: {reason}");
        }
    }

    /// Writes `{"name": {"value": …, "unit": …, "yardstick": …, "ratio": …}}`; the yardstick is its value in the same unit.
    pub(crate) fn write_json(&self, path: &Path) -> io::Result<()> {
        let figures = self.figures.iter().map(|f| {
            let figure = serde_json::json!({
                "value": f.value,
                "unit": f.unit,
                "yardstick": f.yardstick_value,
                "yardstick_name": f.yardstick,
                "ratio": ratio(f),
                "goal": f.goal,
            });
            (f.name.clone(), figure)
        });
        let all: serde_json::Map<String, serde_json::Value> = figures.collect();
        std::fs::write(path, format!("{:#}\n", serde_json::Value::Object(all)))
    }
}

fn ratio(figure: &Figure) -> f64 {
    if figure.yardstick_value > 0.0 { figure.value / figure.yardstick_value } else { 0.0 }
}
