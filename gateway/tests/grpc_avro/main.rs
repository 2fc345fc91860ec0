//! Protocol `grpc-avro`: its codec against other implementations.

mod codec;
mod python;
