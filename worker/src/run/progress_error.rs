//! The error of a frame that a run pushes before its answer.

/// The reason why a progress frame was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The job is settled, or another worker has it: the frames of this run are ignored.
    #[error("this run cannot report on the job: it is settled, or another worker has it")]
    NotOwned,
    /// Larger than `limits.frame`.
    #[error("the frame has {size} bytes, the limit is {limit} (limits.frame)")]
    TooLarge {
        /// Bytes of the data.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The data nest too deep for a frame.
    #[error("the frame would nest deeper than {limit} levels (limits.depth)")]
    TooDeep {
        /// The limit, levels.
        limit: usize,
    },
    /// The data cannot be serialised as JSON.
    #[error("the data cannot be serialised as JSON")]
    Encode(#[from] serde_json::Error),
    /// The caller has read no frame for a minute, or does not exist any more.
    #[error("the caller has read no part of the answer for a minute")]
    NoReader,
    /// Redis cannot be reached.
    #[error("the frame could not be pushed to Redis")]
    Store(#[from] redcall_store::StoreError),
}
