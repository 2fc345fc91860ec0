//! Fuzz target: the reply of a script. `src/script_results.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::script_results::check);
