//! Tasks and processes while a program runs.

pub mod backoff;
pub mod context;
pub mod leash;
pub mod program;
