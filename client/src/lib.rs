//! Call named jobs over Redis, and wait for their answers.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs` | [`Client`]: connections, queues it has used |
//! | `request.rs` | [`Request`]: building one |
//! | `send.rs` | the ways to send one, or many |
//! | `sender.rs` | the one task that writes requests |
//! | `cancel.rs` | withdrawing what was sent |
//! | `dead.rs`, `pause.rs` | dead letters of a queue; pausing it |
//! | `events.rs` | publishing events, following topics |
//! | `send_claim.rs` | which of sender and caller was first |
//! | `pending.rs` | who waits for what |
//! | `replies.rs` | the reading of answers |
//! | `listen.rs` | the channels of submitted and of monitored requests |
//! | `service.rs` | asking an instance of a service |
//! | `settle.rs` | answering what a handler has put off |
//! | `status.rs`, `monitor.rs` | the status of a job; following it |
//! | `ticket.rs`, `stream.rs`, `follow.rs` | waiting later; following; what others have sent |
//! | `error.rs` | [`CallError`] |
//!
//! Running jobs is the worker's business; neither knows the other.

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
pub use redcall_common::token::{NoToken, SettlementToken};
pub use redcall_store::Listing;
pub use redcall_store::dead::{
    DeadLetter, DeadLetters, DeadPage, DeadRef, DeadReport, DeadSelection, DeadSkip, Run,
};
pub use redcall_store::inspect::{Inspector, Overdue, QueueInfo, WorkerInfo};
pub use redcall_store::{Cancellation, StoreError};
pub use request::Request;
pub use response::{Receipt, Response};
pub use service::{Service, ServiceState};
pub use settle::SettleError;
pub use status::JobRef;
pub use stream::{FrameStream, Update};
pub use ticket::Ticket;
