//! Redis in trouble, one module per kind: no queued request is lost, every wait ends in time, and
//! everything recovers when the trouble is over.

#[cfg(target_os = "linux")]
mod clocks;
mod connections;
mod durability;
mod full;
mod refusals;
mod restarts;
mod sentinels;
