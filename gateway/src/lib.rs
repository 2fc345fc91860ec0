//! Protocols of older systems on Redcall.

pub mod pm;
