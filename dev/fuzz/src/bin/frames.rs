//! Fuzz target: the messages that a client receives about a request. `src/frames.rs` has the
//! assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::frames::check);
