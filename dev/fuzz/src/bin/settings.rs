//! Fuzz target: a settings file and variables. `src/settings.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::settings::check);
