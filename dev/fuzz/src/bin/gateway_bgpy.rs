//! Fuzz target: the bytes of a bgpy client. `src/gateway_bgpy.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::gateway_bgpy::check);
