//! Tests of both ends, one module per topic. One binary: it links once.

mod calls;
