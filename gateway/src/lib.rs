//! Redcall's gateway: clients and workers of other systems on Redcall.

pub mod grpc_avro;
