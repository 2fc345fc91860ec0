//! The protocol `zmtp`: devices and consoles of the Autotrainer API, over ZeroMQ's wire protocol.
//!
//! | place | holds |
//! |---|---|
//! | `wire/` | ZMTP 3.x with the mechanism NULL: greeting, commands, frames, subscriptions |

pub mod wire;
