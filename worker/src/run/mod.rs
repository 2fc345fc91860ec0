//! One run of one request, from its start to its outcome.
//!
//! | file | holds |
//! |---|---|
//! | `job.rs` | the state of a run: its frames, its single settlement |
//! | `request.rs`, `progress_error.rs` | the handler's view of it: answering, progress |
//! | `deferred.rs` | deferred answers |
//! | `launch.rs` | from a leased element, or one in a lane inbox, to a run |
//! | `young.rs` | a job in a lane, until it is adopted |
//! | `capacity.rs` | how many jobs run at once |
//! | `auth/` | verifying signed requests |
//! | `execute.rs` | the steps of a run |
//! | `service.rs` | a request to a service: the input of its task and its state |
//! | `outcome/` | all outcomes, the delay before a retry, the log line about a failure |
//! | `settle.rs`, `settlement.rs` | from an outcome to the dispatcher, which settles it |

pub(crate) mod auth;
pub(crate) mod capacity;
pub(crate) mod deferred;
pub(crate) mod execute;
pub(crate) mod job;
pub(crate) mod launch;
pub(crate) mod outcome;
pub(crate) mod progress_error;
pub(crate) mod request;
pub(crate) mod service;
mod settle;
pub(crate) mod settlement;
pub(crate) mod young;
