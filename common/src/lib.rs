//! The types and rules that both ends of Redcall share.
//!
//! | module | holds |
//! |---|---|
//! | [`auth`] | signed requests, and the keys that create and verify them |
//! | [`request`], [`decode`] | the envelope that a caller enqueues, its strict decoding |
//! | [`clean`] | foreign text, made safe for a terminal |
//! | [`context`] | the context that a handler's task passes on to its calls |
//! | [`cron`] | the ticks of recurring schedules |
//! | [`durability`] | the durability of a queued request |
//! | [`depth`] | how deep JSON nests |
//! | [`digest`] | the digests that identify calls |
//! | [`failure`], [`signals`] | the exit of a program: its message, its exit code, its signals |
//! | [`finding`] | the findings of a check |
//! | [`event`] | the events of a topic |
//! | [`frame`], [`frame_head`] | the elements of a response key |
//! | [`error`] | the closed set of error codes, and the error as it crosses the wire |
//! | [`keys`] | every Redis key and channel, by name |
//! | [`leash`] | ends a program's processes with it, however it ends |
//! | [`limits`] | the maximum size and depth of everything on the wire |
//! | [`name`] | the form of ids and names |
//! | [`output`] | standard output and standard error of the binaries |
//! | [`pattern`] | patterns of names |
//! | [`program`] | finds the program of a command |
//! | [`result_kind`] | the result of a command, as a number and as an event |
//! | [`report`] | how the binaries print errors |
//! | [`settings`] | the settings file |
//! | [`token`] | the completion token of a deferred request |
//! | [`time`] | times in milliseconds |
//!
//! Items that only one end uses belong elsewhere.

pub mod auth;
pub mod clean;
pub mod context;
#[cfg(feature = "cron")]
pub mod cron;
pub mod decode;
pub mod depth;
pub mod digest;
pub mod durability;
pub mod error;
pub mod event;
#[cfg(feature = "program")]
pub mod failure;
pub mod finding;
pub mod frame;
pub mod frame_head;
pub mod keys;
pub mod leash;
pub mod limit_key;
pub mod limits;
pub mod name;
#[cfg(feature = "program")]
pub mod output;
pub mod pattern;
pub mod program;
#[cfg(feature = "program")]
pub mod report;
pub mod request;
pub mod result_kind;
pub mod service;
pub mod settings;
#[cfg(feature = "program")]
pub mod signals;
pub mod status;
pub mod time;
pub mod token;
#[cfg(feature = "program")]
mod unwritten;
