//! Redis in trouble, one module per kind: nothing that was queued is lost, every wait ends in its
//! time, and everything goes on by itself when the trouble is over.

#[cfg(target_os = "linux")]
mod clocks;
mod connections;
mod durability;
mod full;
mod refusals;
mod restarts;
mod sentinels;
