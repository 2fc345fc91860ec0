//! The seam between Redcall and its broker: the operations of clients, workers and operators.
//!
//! Redis is behind it, and no type of its driver is in it. [`Connection`](crate::Connection)
//! implements [`Session`], the life of a connection, and the operations: small traits by topic,
//! next to the files of their scripts, and one trait per caller that sums them up.
//! [`Inspector`](crate::inspect::Inspector) implements those that read. An in-process
//! broker implements the same traits (docs/internals/decisions/0026). Calls are dispatched
//! statically: each method returns the future of the connection itself.

mod redis;
mod session;
mod waits;

use crate::inspect::{CheckOps, DoctorOps, QueueOps};
use crate::ops::{
    AnswerOps, DeadOps, EventOps, LeaseOps, PauseOps, PollOps, RunOps, SendOps, SharedOps,
    UpkeepOps,
};

pub use session::Session;
pub use waits::{RequestPop, TopicWatch};

/// All operations of a client.
pub trait ClientOps: Session + SharedOps + SendOps + AnswerOps + EventOps + LeaseOps {}

impl<B: Session + SharedOps + SendOps + AnswerOps + EventOps + LeaseOps> ClientOps for B {}

/// All operations of a worker.
pub trait WorkerOps: Session + SharedOps + CheckOps + PollOps + RunOps + UpkeepOps {}

impl<B: Session + SharedOps + CheckOps + PollOps + RunOps + UpkeepOps> WorkerOps for B {}

/// The operations of administrators that change a queue; they read by [`InspectOps`].
pub trait AdminOps: Session + SharedOps + PauseOps {}

impl<B: Session + SharedOps + PauseOps> AdminOps for B {}

/// All that administrators read, and their operations on dead letters. Clients and workers use a
/// part of it: [`QueueOps`], and clients [`DeadOps`].
pub trait InspectOps: Clone + Send + Sync + 'static + QueueOps + DeadOps + DoctorOps {}

impl<B: Clone + Send + Sync + 'static + QueueOps + DeadOps + DoctorOps> InspectOps for B {}
