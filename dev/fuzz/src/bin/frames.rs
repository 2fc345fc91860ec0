//! Fuzz target: what a client hears of a request. What is asserted stands in `src/frames.rs`.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::frames::check);
