//! The types and rules that both ends of Redcall share.
//!
//! | module | holds |
//! |---|---|
//! | [`auth`] | signed requests, and the keys that create and verify them |
//! | [`request`], [`decode`] | the envelope that a caller enqueues, its strict decoding |
//! | [`backoff`] | pauses between attempts |
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

mod diagnostics;
mod rules;
mod runtime;
pub mod settings;
mod wire;

// Each module has one public path, without its folder.
pub use diagnostics::{clean, finding};
#[cfg(feature = "program")]
pub use diagnostics::{failure, output, report, signals};
#[cfg(feature = "cron")]
pub use rules::cron;
pub use rules::{depth, digest, durability, error, keys, limits, name, pattern, time};
pub use runtime::{backoff, context, leash, program};
pub use wire::{
    auth, decode, event, frame, frame_head, limit_key, request, result_kind, service, status, token,
};
