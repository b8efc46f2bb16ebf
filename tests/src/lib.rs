//! The lab: a test network in namespaces, for tests, demo and operators alike.

pub mod skip;
