//! Fuzz target: Avro datums and their JSON. `src/avro.rs` has the assertions.
#![cfg_attr(fuzzing, no_main)]

redcall_fuzz::target!(redcall_fuzz::avro::check);
