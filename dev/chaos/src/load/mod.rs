//! The callers: their operations, and the log of the results.

mod call_log;
mod caller;
mod finished;
mod results_poller;

pub(crate) use call_log::CallLog;
pub(crate) use caller::Caller;
pub(crate) use results_poller::ResultsPoller;
