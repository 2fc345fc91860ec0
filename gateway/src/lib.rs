//! Serves callers and workers of other RPC systems.

pub mod zmtp;
