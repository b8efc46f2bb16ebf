//! nft rules that lose or count packets, with counters that can be read. One table a rule, removed with it.

use super::Namespace;
use anyhow::{Context, Result};
use std::sync::atomic::{AtomicU32, Ordering};

/// Which of the matching packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every n-th, beginning with the first: n − 1 of n pass.
    EveryNth(u32),
    /// Each with this chance, in per mille.
    PerMille(u32),
    /// All.
    All,
}

/// Where a counting rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Whatever comes in, before routing.
    Prerouting,
    /// What is delivered to this host.
    Input,
    /// What this host sends, IGMP and MLD reports included.
    Output,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// A rule in force until dropped, and its counter.
#[derive(Debug)]
pub struct Rule {
    // Names only: the rule may outlive the node's guard, and goes with the namespace then.
    namespace: String,
    table: String,
}

impl Rule {
    pub(super) fn lose(namespace: &Namespace, matching: &str, loss: Loss) -> Result<Self> {
        let share = match loss {
            Loss::EveryNth(n) => format!("numgen inc mod {n} == 0"),
            Loss::PerMille(share) => format!("numgen random mod 1000 < {share}"),
            Loss::All => String::new(),
        };
        Self::add(namespace, Hook::Prerouting, &format!("{matching} {share} counter name hits drop"))
    }

    pub(super) fn count(namespace: &Namespace, hook: Hook, matching: &str) -> Result<Self> {
        Self::add(namespace, hook, &format!("{matching} counter name hits"))
    }

    fn add(namespace: &Namespace, hook: Hook, rule: &str) -> Result<Self> {
        static RULES: AtomicU32 = AtomicU32::new(0);
        let table = format!("lab_{}_{}", std::process::id(), RULES.fetch_add(1, Ordering::Relaxed));
        let hook = hook.name();
        let rules = format!(
            "table inet {table} {{\n counter hits {{ }}\n chain {hook} {{\n  type filter hook {hook} priority raw; policy \
             accept;\n  {rule}\n }}\n}}\n"
        );
        namespace.nft(&["-f", "-"], &rules)?;
        Ok(Self { namespace: namespace.name().to_owned(), table })
    }

    /// How many packets it matched: those lost, or those counted.
    pub fn packets(&self) -> Result<u64> {
        let listed =
            Namespace::existing(&self.namespace)?.nft(&["-j", "list", "counter", "inet", &self.table, "hits"], "")?;
        let listed: serde_json::Value = serde_json::from_str(&listed).context("reading nft's JSON")?;
        listed["nftables"]
            .as_array()
            .and_then(|objects| objects.iter().find_map(|object| object["counter"]["packets"].as_u64()))
            .context("nft lists the counter without a number of packets")
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        // When the lab is gone already, so is the rule.
        if let Ok(namespace) = Namespace::existing(&self.namespace) {
            let _ = namespace.nft(&["delete", "table", "inet", &self.table], "");
        }
    }
}
