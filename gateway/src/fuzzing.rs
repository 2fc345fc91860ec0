//! The codecs, for the fuzz targets of `dev/fuzz`. Not for programs.

pub use crate::pm::wire as pm;
