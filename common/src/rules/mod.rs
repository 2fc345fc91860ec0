//! The rules that both ends share: names, keys, limits, error codes, times. No file here imports
//! one outside this folder.

#[cfg(feature = "cron")]
pub mod cron;
pub mod depth;
pub mod digest;
pub mod durability;
pub mod error;
pub mod keys;
pub mod limits;
pub mod name;
pub mod pattern;
pub mod time;
