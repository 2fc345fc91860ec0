//! Calls named jobs over Redis, and waits for their answers.
//!
//! A [`Client`] enqueues a request. A worker runs the job of that name and returns one answer. The
//! client needs the name and the data; workers may start later, in other processes and on other
//! hosts.
//!
//! ```
//! use redcall_client::Client;
//! use serde_json::{Value, json};
//!
//! # redcall_testkit::example::with_settings(async |settings| {
//! # let url = &settings.redis.url;
//! let client = Client::connect(url).await?; // such as redis://127.0.0.1:6379
//!
//! let receipt = client.call("add", &json!({"a": 1, "b": 2})).await?; // fire and forget
//! println!("queued as {}", receipt.id);
//!
//! let answer = client.call_and_wait("add", &json!({"a": 1, "b": 2})).await?;
//! assert_eq!(answer.json::<Value>()?, json!({"answer": 3}));
//! # Ok(()) });
//! ```
//!
//! | to | use |
//! |---|---|
//! | set a queue, a timeout, a delay or an idempotency key | [`RequestBuilder`] |
//! | read progress and parts of an answer | [`FrameStream`] |
//! | fetch an answer later, or in another process | [`Ticket`] |
//! | read or follow the status of a job | [`Client::status`], [`Client::monitor`] |
//! | publish events, subscribe to topics | [`Client::publish`], [`Topic`] |
//! | call a service, which has state | [`Service`] |
//! | hold a role that only one process may have | [`Client::lease`], [`Lease`] |
//! | settle a deferred answer | [`Client::settle`] |
//! | inspect queues, workers and dead letters | [`Inspector`], [`DeadLetters`] |
//!
//! A failed call returns a [`CallError`], whose variant states whether the job may have been
//! queued.
//!
//! `redcall-worker` runs the jobs. Neither crate depends on the other.

mod admin;
#[doc(hidden)]
pub mod benching;
mod call;
mod engine;
mod error;
mod events;
#[doc(hidden)]
pub mod fuzzing;
mod lease;
mod names;
mod response;
mod service;
mod settle;
mod status;

pub use call::request::RequestBuilder;
pub use call::stream::{FrameStream, Update};
pub use call::ticket::Ticket;
pub use engine::client::Client;
pub use engine::events::subscriber::EventItem;
pub use error::CallError;
pub use events::error::EventError;
pub use events::group::{GroupItem, GroupMember};
pub use events::publish::EventBuilder;
pub use events::stream::EventStream;
pub use events::topic::Topic;
pub use lease::Lease;
pub use redcall_common::durability::Durability;
pub use redcall_common::error::{Code, Retry, WireError};
pub use redcall_common::event::{Event, EventId, Kind};
pub use redcall_common::result_kind::ResultKind;
pub use redcall_common::service::ServiceOp;
pub use redcall_common::settings::{Settings, SettingsError};
pub use redcall_common::status::{JobState, JobStatus};
pub use redcall_common::token::{CompletionToken, InvalidToken};
pub use redcall_store::Listing;
pub use redcall_store::dead::{
    DeadLetter, DeadLetters, DeadPage, DeadRef, DeadReport, DeadSelection, DeadSkip, Run,
};
pub use redcall_store::inspect::{Inspector, Overdue, QueueInfo, WorkerInfo};
pub use redcall_store::{Cancellation, StoreError};
pub use response::{Receipt, Response};
pub use service::{Service, ServiceState};
pub use settle::SettleError;
pub use status::monitor::StatusStream;
pub use status::record::JobRef;
