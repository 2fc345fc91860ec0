//! Fuzz target: what a client of bgpy sends. `src/gateway_bgpy.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::gateway_bgpy::check);
