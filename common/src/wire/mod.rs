//! The forms of requests, frames, events and records on the wire, and their signatures.

pub mod auth;
pub mod decode;
pub mod event;
pub mod frame;
pub mod frame_head;
pub mod limit_key;
pub mod request;
pub mod result_kind;
pub mod service;
pub mod status;
pub mod token;
