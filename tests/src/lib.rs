//! The lab: a test network in namespaces, for tests, demo and operators alike; and how a test says that it was skipped.
#![forbid(unsafe_code)]

pub mod lab;
pub mod skip;
