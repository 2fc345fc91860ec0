//! The shared state of a client and its tasks. Knows no call, status or event operation: those are
//! `impl Client` blocks in the other folders.
//!
//! | file | holds |
//! |---|---|
//! | `client.rs` | [`Client`](client::Client): its connections and the queues it has used |
//! | `in_flight/` | the callers that wait for answers, by request id |
//! | `room.rs` | the known room of a queue, which allows pushes without a script |
//! | `route.rs` | a queue that the client has used |
//! | `direct/` | plain requests that their callers write by themselves |
//! | `sender/` | the one task that writes all other requests |
//! | `deliveries.rs` | bounded deliveries of answers |
//! | `replies.rs` | reading of answers |
//! | `withdrawal.rs` | cancellation of abandoned calls |
//! | `subscriptions.rs` | channels of submitted and of monitored requests |
//! | `monitors.rs` | monitors of job states that wait for changes |
//! | `events/` | the one task that reads events for all subscribers |
//! | `results.rs` | events for the results of device commands |
//! | `durability.rs` | waits for the durability level of a request |
//! | `deadline.rs` | deadlines of waits |

pub(crate) mod client;
pub(crate) mod deadline;
pub(crate) mod deliveries;
pub(crate) mod direct;
pub(crate) mod durability;
pub(crate) mod events;
pub(crate) mod in_flight;
pub(crate) mod monitors;
pub(crate) mod replies;
pub(crate) mod results;
pub(crate) mod room;
pub(crate) mod route;
pub(crate) mod sender;
pub(crate) mod subscriptions;
pub(crate) mod withdrawal;
