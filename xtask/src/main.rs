//! `cargo xtask`: set-up, demo, lab, tests, benchmarks.

fn main() {}
