//! Reading of events for all subscribers of a client.
//!
//! | file | holds |
//! |---|---|
//! | `hub.rs` | the state of a client for events |
//! | `reader.rs` | the one task that reads for all subscribers, over one connection |
//! | `cursor.rs` | the position in a topic, and the count of missed events |
//! | `subscriber.rs` | the reader's end of a subscription |

pub(crate) mod cursor;
pub(crate) mod hub;
pub(crate) mod reader;
pub(crate) mod subscriber;
