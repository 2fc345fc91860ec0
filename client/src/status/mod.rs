//! The status of a job.
//!
//! | file | holds |
//! |---|---|
//! | `record.rs` | references to jobs, and reading their records |
//! | `monitor.rs` | following a status to its end |

pub(crate) mod monitor;
pub(crate) mod record;
