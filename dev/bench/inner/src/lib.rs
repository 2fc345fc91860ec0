//! The inner parts of a call, in batches of [`BATCH`]: `benches/time.rs` measures their durations,
//! `main.rs` their instructions.
//!
//! Ids, sizes and times are fixed. The setup precedes the measurement; only the methods marked as
//! measured are measured.
//!
//! | file | holds |
//! |---|---|
//! | `calls.rs` | requests: written by a client, pushed, read by a worker |
//! | `polls.rs` | a worker's poll: settlements and leases |
//! | `waits.rs` | waiting callers, and the path of an answer to them |

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    reason = "a part that cannot be set up must fail loudly"
)]

pub mod calls;
pub mod polls;
pub mod waits;

use redcall_common::keys::{Keys, QueueKeys};

/// The number of calls in each measurement: as many as a busy worker settles and leases in one
/// poll.
pub const BATCH: usize = 64;

/// The data of every call.
pub const DATA: &str = r#"{"a":1,"b":2}"#;

/// The keys of the queue.
#[must_use]
pub fn queue() -> QueueKeys {
    Keys::new("redcall").of("default")
}

/// The ids of the calls, as long as those of our client.
#[must_use]
pub fn ids() -> Vec<String> {
    (0..BATCH).map(|n| format!("0199a2b4-7c1e-7000-8000-{n:012}")).collect()
}
