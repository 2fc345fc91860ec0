//! Fuzz target: a ZeroMQ peer of a gateway. `src/zmtp.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::zmtp::check);
