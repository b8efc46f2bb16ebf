//! `sender`: a kernel-bypass multicast sender appliance. See ARCHITECTURE.md for the map of the code.
//!
//! The rooms, in the order data flows; a room may use rooms above it in this list, not below.
#![deny(unsafe_code)]

// Blank lines keep the order: rustfmt sorts only neighbours.
pub mod config;

pub mod netif;

pub mod media;

pub mod srtp;

pub mod packet;

pub mod check;

pub mod xsk;

pub mod transmit;

pub mod querier;

pub mod xdp;

pub mod run;

pub mod receive;
