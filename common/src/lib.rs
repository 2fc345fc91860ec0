//! What both ends of Redcall must agree on.
//!
//! | module | holds |
//! |---|---|
//! | [`auth`] | signed requests and the keys that make and judge them |
//! | [`request`], [`decode`] | the envelope that a caller enqueues, its strict decoding |
//! | [`clean`] | text of others, safe for a terminal |
//! | [`context`] | what a handler's task passes on to the calls it makes |
//! | [`cron`] | when something recurs |
//! | [`durability`] | how safe a request is once it counts as queued |
//! | [`digest`] | under which digests calls are known |
//! | [`finding`] | what an examination finds |
//! | [`event`] | what is published on a topic |
//! | [`frame`] | the elements of a response key |
//! | [`error`] | the closed set of error codes, and the error as it crosses the wire |
//! | [`keys`] | every Redis key and channel, by name |
//! | [`leash`] | a program's processes end with it, however it ends |
//! | [`limits`] | how large and how deep anything may be |
//! | [`name`] | which ids and names are well formed |
//! | [`output`] | standard output and standard error of the binaries |
//! | [`program`] | which program a command means |
//! | [`result_kind`] | what became of a command, as a number and as an event |
//! | [`report`] | how the binaries print what went wrong |
//! | [`settings`] | the settings file |
//! | [`token`] | what settles a request that is answered later |
//! | [`time`] | times as they are written |
//!
//! Nothing belongs here that only one end uses.

pub mod auth;
pub mod clean;
pub mod context;
pub mod cron;
pub mod decode;
pub mod digest;
pub mod durability;
pub mod error;
pub mod event;
pub mod finding;
pub mod frame;
pub mod keys;
pub mod leash;
pub mod limit_key;
pub mod limits;
pub mod name;
pub mod output;
pub mod program;
pub mod report;
pub mod request;
pub mod result_kind;
pub mod service;
pub mod settings;
pub mod status;
pub mod time;
pub mod token;
