//! Fuzz target: an element of a queue. What is asserted stands in `src/envelope.rs`.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::envelope::check);
