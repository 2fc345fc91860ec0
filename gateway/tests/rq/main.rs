//! Protocol `rq`: jobs as rq's callers write them, and rq's own callers and workers.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod hostile;
mod kills;
mod outward;
mod python;
mod queues;
mod recorded;
mod rq_redis;
