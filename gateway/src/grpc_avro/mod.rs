//! Protocol `grpc-avro`.

pub mod avro;
