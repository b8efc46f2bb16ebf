//! What can go wrong while a socket is set up: always what was tried, on what, the kernel's answer and the remedy. One line each: the
//! kernel's answer is part of the message, so it is not given as `source` again.

use std::io;

/// A socket, its rings or its memory could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XskError {
    /// No interface of that name in this network namespace.
    #[error("interface {interface}: no such interface here; `ip link` lists those there are (check network.interface)")]
    NoInterface {
        /// The name asked for.
        interface: String,
    },
    /// A value that cannot work, found before anything was tried.
    #[error("{what} = {value} cannot be used: {remedy}")]
    Config {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        remedy: &'static str,
    },
    /// The memory asked for is not there.
    #[error("{bytes} bytes of packet memory (umem) do not fit: {limit} allows {available}; {remedy}")]
    Memory {
        /// Bytes asked for.
        bytes: u64,
        /// Which limit is in the way.
        limit: String,
        /// Bytes that limit leaves.
        available: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A system call that is not about a socket's queue failed.
    #[error("{what} failed: {error}; {remedy}")]
    System {
        /// The call and what it was for.
        what: String,
        /// The kernel's answer.
        error: io::Error,
        /// What to do.
        remedy: String,
    },
    /// A step of the socket's set-up failed.
    #[error("interface {interface}, queue {queue}: {step} failed: {error}; {remedy}")]
    Setup {
        /// The interface.
        interface: String,
        /// Its queue.
        queue: u32,
        /// The call and the socket option.
        step: &'static str,
        /// The kernel's answer.
        error: io::Error,
        /// What to do.
        remedy: String,
    },
}

impl XskError {
    /// The kernel's answer, when a system call failed.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            XskError::System { error, .. } | XskError::Setup { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }
}
