//! `sender`: a kernel-bypass multicast sender appliance. See ARCHITECTURE.md for the map of the code.
//!
//! The rooms, in the order data flows; a room may use rooms above it in this list, not below.
#![deny(unsafe_code)]

pub mod check;
pub mod config;
pub mod media;
pub mod netif;
pub mod packet;
pub mod receive;
pub mod run;
pub mod srtp;
pub mod transmit;
pub mod querier;
pub mod xdp;
pub mod xsk;
