//! Access to the Redis of rq, the Python job queue, for the gateway's protocol `rq`.
//!
//! rq's keys are not Redcall's: their names, types and scripts are here, apart from the operations
//! of Redcall's own queues, and nothing here is behind the seam to the broker. The protocol itself
//! (what a job means, which name it calls) is the gateway's.
//!
//! | file | holds |
//! |---|---|
//! | `keys.rs` | the keys of rq that a gateway uses, and its own next to them |
//! | `inbox.rs` | [`RqInbox`]: taking jobs and ending them, as an rq worker would |
//! | `signal.rs` | [`QueueSignal`]: waiting until a queue has jobs |
//! | `jobs.rs` | [`RqJobs`]: enqueuing jobs for rq workers, and waiting for their answers |

mod inbox;
mod jobs;
mod keys;
mod script;
mod signal;

pub use inbox::{JobEnd, RqFinish, RqFound, RqInbox, TakenJob, Unreadable};
pub use jobs::{NewJob, RqAnswer, RqJobs};
pub use keys::{MAX_JOB_ID, RqKeys};
pub use signal::QueueSignal;
