//! What the kernel and user space must agree on: map keys and values, event records, and the one parser
//! (Ethernet … IGMP, MLD, RTCP) that the XDP program, user space and the fuzz targets all use.
//!
//! No `std`, no allocation, no I/O.
#![cfg_attr(not(test), no_std)]
