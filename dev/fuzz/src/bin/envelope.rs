//! Fuzz target: an element of a queue. `src/envelope.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::envelope::check);
