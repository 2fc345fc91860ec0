//! The sources of the settings: file and environment, brought into one tree of values with origins,
//! and the reading of a typed value, or its mistake. These files do not know which keys exist.

pub(crate) mod closest;
pub(crate) mod entry;
pub(crate) mod env;
pub(crate) mod error;
pub(crate) mod file;
pub(crate) mod section;
