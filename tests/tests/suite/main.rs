//! Tests of both ends, one module per topic. One binary: it links once.

mod calls;
mod isolation;
mod load;
mod protocol;
mod readme;
mod sharing;
mod tls;
