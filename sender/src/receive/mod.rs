//! Room `receive`.

pub mod members;
pub mod reorder;
pub mod rtcp;
pub mod rtp;
pub mod sequence;
pub mod timing;
