//! How large and how deep anything on the wire may be, with the defaults of the protocol.
//!
//! Read by both ends: a client refuses what is too large before it is queued, a worker answers
//! `too_large` for what reached the queue by another way.

/// Upper bounds, all in bytes unless said otherwise. `[limits]` in the settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A whole request envelope. Default 2 MiB.
    pub request: usize,
    /// The `data` of an answer. Default 8 MiB.
    pub answer: usize,
    /// One progress or chunk frame. Default 1 MiB.
    pub frame: usize,
    /// How deep a request's JSON may nest (levels). Default 64.
    pub depth: usize,
    /// How many requests one queue may hold; 0 for no cap. Default 1,000,000.
    pub max_length: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: 2 << 20, answer: 8 << 20, frame: 1 << 20, depth: 64, max_length: 1_000_000 }
    }
}
