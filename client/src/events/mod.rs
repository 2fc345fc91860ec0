//! Events: publishing on topics, and subscriptions to them.
//!
//! | file | holds |
//! |---|---|
//! | `publish.rs` | publishing an event |
//! | `topic.rs` | the options of a subscription |
//! | `stream.rs` | the events of one subscriber |
//! | `group.rs` | consumer groups: each event goes to one member |
//! | `error.rs` | errors of publishing and of subscriptions |

pub(crate) mod error;
pub(crate) mod group;
pub(crate) mod publish;
pub(crate) mod stream;
pub(crate) mod topic;
