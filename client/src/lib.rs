//! Client for named jobs over Redis: enqueues requests and waits for their answers.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs` | [`Client`]: its connections and the queues it has used |
//! | `request.rs` | [`RequestBuilder`]: the builder of a request |
//! | `send.rs` | sending one request or many |
//! | `sender.rs` | the one task that writes requests |
//! | `cancel.rs` | cancellation of requests |
//! | `dead.rs`, `pause.rs` | dead letters of a queue; pausing a queue |
//! | `events.rs` | publishing events, subscribing to topics |
//! | `send_claim.rs` | arbitration between the sender and a caller that gives up |
//! | `in_flight.rs` | the callers that wait for answers, by request id |
//! | `replies.rs` | reading of answers |
//! | `subscriptions.rs` | channels of submitted and of monitored requests |
//! | `service.rs` | requests to an instance of a service |
//! | `settle.rs` | settling a deferred answer |
//! | `status.rs`, `monitor.rs` | the status of a job; following it |
//! | `ticket.rs`, `stream.rs`, `follow.rs` | fetching an answer later; streams; following requests
//! of other clients |
//! | `error.rs` | [`CallError`] |
//!
//! `redcall-worker` runs the jobs. Neither crate depends on the other.

#[doc(hidden)]
pub mod benching;
mod cancel;
mod client;
mod dead;
mod durability;
mod error;
mod events;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod in_flight;
mod monitor;
mod pause;
mod replies;
mod request;
mod response;
mod send;
mod send_claim;
mod sender;
mod service;
mod settle;
mod status;
mod stream;
mod subscriptions;
mod ticket;

pub use client::Client;
pub use error::CallError;
pub use events::{EventError, EventItem, EventStream, GroupItem, GroupMember, Topic};
pub use monitor::StatusStream;
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
pub use request::RequestBuilder;
pub use response::{Receipt, Response};
pub use service::{Service, ServiceState};
pub use settle::SettleError;
pub use status::JobRef;
pub use stream::{FrameStream, Update};
pub use ticket::Ticket;
