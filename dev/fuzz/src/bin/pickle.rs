//! Fuzz target: a Python pickle. `src/pickle.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::pickle::check);
