//! The sections whose entries have names of the user: jobs, pools, services, schedules; and the
//! tables within them.
//!
//! Form only. The worker checks that a compiled-in handler exists, or a program can be started.

pub(crate) mod handler;
pub(crate) mod jobs;
pub(crate) mod limit;
pub(crate) mod pools;
pub(crate) mod process;
pub(crate) mod program_env;
pub(crate) mod retries;
pub(crate) mod schedules;
pub(crate) mod services;
