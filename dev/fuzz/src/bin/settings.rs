//! Fuzz target: a settings file and variables. What is asserted stands in `src/settings.rs`.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::settings::check);
