//! Fuzz target: the reply of a script. What is asserted stands in `src/script_results.rs`.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::script_results::check);
