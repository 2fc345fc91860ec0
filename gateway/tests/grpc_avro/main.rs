//! Protocol `grpc-avro`: its codec against other implementations; its door against real `grpcio`.

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
