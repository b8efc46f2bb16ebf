//! End to end: the real `sender` in the lab, sending, receiving, counting, failing.
//!
//! Each module is one promise of the product. [`stage`] starts and watches the programs; nothing else here does.

mod bytes;
mod copies;
mod ending;
mod family;
mod hostile;
mod loss;
mod modes;
mod querier;
mod queues;
mod receiver;
mod refused;
mod stage;
mod tags;
