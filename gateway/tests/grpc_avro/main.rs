//! Protocol `grpc-avro`: its codec against other implementations; its door against real `grpcio`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

mod codec;
mod door;
mod faults;
mod guide;
mod hostile;
mod life;
mod many;
mod peers;
mod refused;
mod registry;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod windows;

use peers::{client, http2, python, raw};
