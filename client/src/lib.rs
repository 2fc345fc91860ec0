//! Client for named jobs over Redis: enqueues requests and waits for their answers.
//!
//! | file | holds |
//! |---|---|
//! | `engine/` | [`Client`]: its connections, and the tasks that write requests and read answers |
//! | `call/` | [`RequestBuilder`]: building, sending, following and cancelling requests |
//! | `status/` | the status of a job; following it |
//! | `events/` | publishing events, subscribing to topics |
//! | `admin/` | pausing a queue; its dead letters; the inspector |
//! | `service.rs` | requests to an instance of a service |
//! | `settle.rs` | settling a deferred answer |
//! | `response.rs` | [`Receipt`] and [`Response`] |
//! | `names.rs` | checks of ids and queue names |
//! | `error.rs` | [`CallError`] |
//!
//! Imports point one way: `engine/` imports none of the other folders, and each operation adds its
//! own `impl Client` block above it.
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
pub use events::stream::EventStream;
pub use events::topic::Topic;
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
