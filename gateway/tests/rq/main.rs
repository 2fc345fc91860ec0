//! Protocol `rq`: jobs as rq's callers write them, and rq's own callers and workers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod guide;
mod hostile;
mod inbox;
mod kills;
mod outward;
mod python;
mod queues;
mod recorded;
mod rights;
mod rq_redis;
