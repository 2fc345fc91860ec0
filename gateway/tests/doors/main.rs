//! The parts of the gateway that all protocols share, as the program shows them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows them in tests, but does not see that these helpers belong to some"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../bgpy/client.rs"]
#[allow(dead_code, reason = "the tests of `bgpy` use the rest")]
mod bgpy_client;
#[path = "../grpc_avro/peers/client.rs"]
#[allow(dead_code, reason = "the tests of `grpc-avro` use the rest")]
mod client;
mod drain;
#[path = "../pm/raw.rs"]
#[allow(dead_code, reason = "the tests of `pm` use the rest")]
mod pm_peer;
mod program;
#[path = "../grpc_avro/peers/raw.rs"]
#[allow(dead_code, reason = "the tests of `grpc-avro` use the rest")]
mod raw;
mod readiness;
#[path = "../rq/rq_redis.rs"]
#[allow(dead_code, reason = "the tests of `rq` use the rest")]
mod rq_redis;
mod secrets;
mod withdrawal;
#[path = "../zmtp/peers.rs"]
#[allow(dead_code, reason = "the tests of `zmtp` use the rest")]
mod zmtp_peers;
