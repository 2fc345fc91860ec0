//! The codecs, for the fuzz targets of `dev/fuzz`. Not for programs.

pub use crate::bgpy::wire as bgpy;
