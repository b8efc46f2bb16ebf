//! The `sender` binary: the command line over the library.

fn main() {}
