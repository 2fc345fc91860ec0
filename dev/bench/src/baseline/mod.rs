//! The least that Redis allows, measured by small programs on plain sockets without code of
//! Redcall.
//!
//! | baseline | does |
//! |---|---|
//! | F1 `ping.rs` | one caller, two processes: LPUSH there, BLPOP; LPUSH back, BLPOP |
//! | F2 `literal.rs` | the commands of a safe call: push, move, remove, respond, expire, take |

pub(crate) mod literal;
pub(crate) mod ping;
pub(crate) mod wire;
