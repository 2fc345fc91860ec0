//! Doors for programs of older systems. Each speaks its own protocol to a door; behind it are
//! Redcall's jobs, services and events.
//!
//! A door is one `[gateways.NAME]` of the settings. It is a Redcall client for foreign callers
//! (*inward*), and a Redcall worker for jobs that foreign programs run (*outward*, key `serves`).
//! One process serves all doors of its settings; any number of processes may run.
//!
//! | place | holds |
//! |---|---|
//! | `gateway.rs` | [`Gateway`]: opens all doors, runs them, drains |
//! | `door/` | the pipeline that all protocols share, see below |
//! | `protocols.rs` | the one match from a door's settings to its protocol |
//! | `rq/`, `pm/`, `grpc_avro/`, `zmtp/`, `bgpy/` | one protocol each |
//! | `pickle/` | Python pickles, which `rq` and `bgpy` share |
//! | `admin.rs` | the reports of probes and metrics |
//! | `overview.rs` | the doors as `redcall-gateway check` prints them |
//! | `error.rs` | errors at the start and the end of doors |
//!
//! # Writing a protocol
//!
//! A protocol is `pub(crate) async fn serve(door: Arc<Door>, listeners: Listeners) -> Result<(),
//! DoorError>` in its `mod.rs`. It returns when the door drains and its open requests have ended;
//! `Gateway` drops it after `worker.drain_timeout`. An error ends the program, and names the door.
//! An error of one connection is never returned: count it with `door.metrics().refused(why)`, and
//! close the connection.
//!
//! | to | use |
//! |---|---|
//! | read the door's settings | `door.settings()`: [`GatewaySettings`]; its own keys: `.protocol` |
//! | serve connections | `listeners.take("listen")`, `Listener::serve` with a function |
//! | read and write a connection | `Stream`: a write to a peer that does not read fails |
//! | wait for the next message | `door.next(reading)`: ends at `idle` and when the door drains |
//! | dial another program | `Stream::connect`, and serve it within `door.guarded(…)` |
//! | compare a token | `door.admits(bytes)` |
//! | name the job of a foreign name | `door.job_of(foreign)` |
//! | call it and wait | `door.waited_request(…)`, then `door.wait(…)` |
//! | enqueue it | `door.request(…)`, then `door.send(…)` |
//! | follow it as a stream | `door.waited_request(…)?.stream()`, and `door.ended(…)` at its end |
//! | use services, events, status, monitors | `door.client()`: the Redcall client of the door |
//! | count a call that is rejected before it is sent | `door.rejected(…)` |
//! | map errors | `Failure`; one exhaustive match per protocol, in its `errors.rs` |
//! | run the jobs of `serves` | implement `Peer`, then `door.run_jobs(peer, until)` |
//! | read the job's deadline, push progress | `ForeignJob` |
//! | stop | `door.draining()`; `door.is_draining()` |
//! | count | `door.metrics()` |
//! | hold a role that only one process may have | `door.client().lease(name, ttl)` |
//!
//! Payloads are raw JSON text ([`serde_json::value::RawValue`]) on the whole way: numbers of any
//! size and the order of keys pass unchanged.
//!
//! Tests with real programs are in `gateway/tests/<protocol>/main.rs`, with the harness of
//! `gateway/tests/support/`. Each protocol has a page `docs/guide/gateway-<protocol>.md`, linked
//! from `docs/guide/gateway.md` and `docs/SUMMARY.md`.

mod admin;
mod bgpy;
mod door;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
#[doc(hidden)]
pub mod grpc_avro;
mod overview;
pub mod pickle;
mod pm;
mod protocols;
mod rq;
pub mod zmtp;

pub use error::{DoorError, GatewayError};
pub use gateway::{DoorAddress, Gateway};
pub use overview::overview;
pub use redcall_common::settings::{GatewaySettings, Settings};
pub use redcall_worker::Stop;
