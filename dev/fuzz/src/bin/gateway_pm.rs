//! Fuzz target: the bytes of a link of Pipeline Manager. `src/gateway_pm.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::gateway_pm::check);
