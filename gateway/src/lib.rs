//! Foreign protocols on Redcall: callers and workers of older systems, unmodified.

pub mod pickle;
