//! What Redis allows at least, by small programs on plain sockets: nothing of Redcall's is in here.
//!
//! | floor | does |
//! |---|---|
//! | F1 `ping.rs` | one caller, two processes: LPUSH there, BLPOP; LPUSH back, BLPOP |
//! | F2 `literal.rs` | what a safe call needs: push, move, remove, respond, expire, take |

pub(crate) mod literal;
pub(crate) mod ping;
pub(crate) mod wire;
