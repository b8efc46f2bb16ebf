//! What a guest found: the lines of its console that begin with `VM|`.
//!
//!     VM| check NAME: ok DETAIL
//!     VM| check NAME: FAIL DETAIL
//!     VM| done

/// The checks of one run.
#[derive(Default)]
pub(super) struct Verdict {
    checks: Vec<Check>,
    done: bool,
}

struct Check {
    name: String,
    passed: bool,
    detail: String,
}

impl Verdict {
    /// Takes one line of the console and shows it if it is a check; those that are not for us are passed over.
    pub(super) fn read(&mut self, line: &str) {
        let Some((_, line)) = line.split_once("VM| ") else { return };
        if line == "done" {
            self.done = true;
        }
        let Some((name, result)) = line.strip_prefix("check ").and_then(|check| check.split_once(": ")) else { return };
        let (word, detail) = result.split_once(' ').unwrap_or((result, ""));
        self.add(Check { name: name.to_owned(), passed: word == "ok", detail: detail.to_owned() });
    }

    fn add(&mut self, check: Check) {
        println!("  {} {:37}  {}", if check.passed { "ok  " } else { "FAIL" }, check.name, check.detail);
        self.checks.push(check);
    }

    /// Adds a check that failed.
    pub(super) fn fail(&mut self, name: &str, detail: &str) {
        self.add(Check { name: name.to_owned(), passed: false, detail: detail.to_owned() });
    }

    /// The run is over: a guest that did not say so itself has crashed, and `complaint` may say why.
    pub(super) fn close(&mut self, complaint: &str) {
        if !self.done {
            self.fail("guest comes to its end", complaint);
        }
    }

    /// How many checks passed.
    pub(super) fn passed(&self) -> usize {
        self.checks.iter().filter(|check| check.passed).count()
    }

    /// How many did not. A run without any check has one failure: that.
    pub(super) fn failed(&self) -> usize {
        (self.checks.len() - self.passed()).max(usize::from(self.checks.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &[&str]) -> Verdict {
        let mut verdict = Verdict::default();
        lines.iter().for_each(|line| verdict.read(line));
        verdict.close("");
        verdict
    }

    #[test]
    fn checks_are_read_from_the_console() {
        let verdict =
            verdict(&["[ 1.0] igb: up", "VM| check a b: ok 10000 of 10000", "\rVM| check c: FAIL why", "VM| done"]);
        assert_eq!((verdict.passed(), verdict.failed()), (1, 1));
        assert_eq!(verdict.checks[0].detail, "10000 of 10000");
    }

    #[test]
    fn a_guest_that_does_not_come_to_its_end_has_failed() {
        assert_eq!(verdict(&["VM| check a: ok"]).failed(), 1);
        assert_eq!(verdict(&["Kernel panic"]).failed(), 1);
    }

    #[test]
    fn a_guest_that_checks_nothing_has_failed() {
        assert_eq!(verdict(&["VM| done"]).failed(), 1);
    }
}
