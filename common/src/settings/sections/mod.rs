//! The sections of the settings: one file each, with its struct, its defaults and its reader.
//!
//! A reader has one line per key: name, type, range. It enforces the ranges, so a struct that is
//! built in code (by tests or flags) is used unchanged.

pub(crate) mod admin;
pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod dead;
pub(crate) mod events;
pub(crate) mod gateways;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod mapping;
pub(crate) mod queues;
pub(crate) mod redis;
pub(crate) mod worker;
