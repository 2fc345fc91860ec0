//! Reading queues, workers and the server, for operators and for checks at the start of a program.
//!
//! | file | holds |
//! |---|---|
//! | `inspector.rs` | queues and workers |
//! | `listing.rs` | all queues, also those of other programs |
//! | `survey.rs`, `limits.rs` | finding problems, for `redcall doctor` |
//! | `state.rs` | the state of a service's instance |
//! | `server.rs` | a server's version, role and persistence |
//! | [`safety`] | whether Redis keeps its data |
//! | [`rights`], `missing.rs` | the rights at Redis that each program needs, and those it lacks |

mod inspector;
mod limits;
mod listing;
mod missing;
pub mod rights;
pub mod safety;
mod server;
mod state;
mod survey;

pub(crate) use inspector::read_queue;
pub use inspector::{Inspector, Overdue, QueueInfo, WorkerInfo};
pub use listing::Listing;
pub use server::{Append, Clock, ServerInfo};
pub use survey::{KeptBytes, KeyCensus, StuckWorker};
