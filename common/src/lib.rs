//! The types and rules that both ends of Redcall share: the envelope of a request, its frames,
//! error codes, names, keys, limits and settings. It does not talk to Redis. Programs that call or
//! run jobs use its types through `redcall-client` and `redcall-worker`.
//!
//! A client writes an envelope, and a worker reads it by the same rules:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use redcall_common::decode::decode;
//! use redcall_common::keys::Keys;
//! use redcall_common::limits::Limits;
//! use redcall_common::name::new_id;
//! use redcall_common::request::Envelope;
//! use serde_json::value::to_raw_value;
//!
//! let (id, data, headers) = (new_id(), to_raw_value("hello")?, BTreeMap::new());
//! let envelope = Envelope {
//!     id: &id,
//!     name: "greet",
//!     data: &data,
//!     response_key: None,
//!     enqueued_at: 1_763_683_200_000,
//!     budget_ms: None,
//!     response_ttl_ms: None,
//!     status_ttl_ms: None,
//!     max_attempts: None,
//!     notify: None,
//!     idempotency_key: None,
//!     headers: &headers,
//!     auth: None,
//! };
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
//! | tell errors apart | [`Code`](error::Code), [`WireError`](error::WireError) |
//! | name keys and channels of Redis | [`Keys`](keys::Keys) |
//! | write and read requests | [`Envelope`](request::Envelope), [`decode()`](decode::decode) |
//! | write and read frames | [`Frame`](frame::Frame) |
//! | sign and verify | [`Keyring`](auth::Keyring) |
//! | settle a deferred answer | [`CompletionToken`](token::CompletionToken) |
//! | read events | [`Event`](event::Event), [`Kind`](event::Kind) |
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
