//! The types and rules that both ends of Redcall share: the envelope of a request, its frames,
//! error codes, names, keys, limits and settings. It does not talk to Redis. Programs that call or
//! run jobs use its types through `redcall-client` and `redcall-worker`.
//!
//! A client writes an envelope, and a worker reads it by the same rules:
//!
//! ```
//! use redcall_common::decode::decode;
//! use redcall_common::keys::Keys;
//! use redcall_common::limits::Limits;
//! use redcall_common::name::new_id;
//! use redcall_common::request::Envelope;
//! use serde_json::value::to_raw_value;
//!
//! let (id, data) = (new_id(), to_raw_value("hello")?);
//! let envelope = Envelope::new(&id, "greet", &data, 1_763_683_200_000);
//! let element = envelope.encode();
//!
//! let keys = Keys::new("redcall").of("default");
//! let request = decode(element.as_bytes(), &id, &keys, &Limits::default()).expect("a request");
//! assert_eq!((request.name.as_str(), request.data.get()), ("greet", "\"hello\""));
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | read the settings of a program | [`Settings`](settings::Settings) |
//! | distinguish errors | [`Code`](error::Code), [`WireError`](error::WireError) |
//! | name keys and channels of Redis | [`Keys`](keys::Keys) |
//! | write and read requests | [`Envelope`](request::Envelope), [`decode()`](decode::decode) |
//! | write and read frames | [`Frame`](frame::Frame) |
//! | sign and verify | [`Keyring`](auth::Keyring) |
//! | settle a deferred answer | [`CompletionToken`](token::CompletionToken) |
//! | read events | [`Event`](event::Event), [`Kind`](event::Kind) |
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
