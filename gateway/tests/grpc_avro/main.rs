//! Protocol `grpc-avro`: its codec against other implementations; its door against real `grpcio`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

mod client;
mod codec;
mod door;
mod faults;
mod guide;
mod hostile;
mod life;
mod python;
mod raw;
mod refused;
mod registry;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod tls;
