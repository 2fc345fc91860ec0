//! Administration of queues.
//!
//! | file | holds |
//! |---|---|
//! | `pause.rs` | pausing a queue |
//! | `dead.rs` | the dead letters of a queue |
//! | `inspect.rs` | the inspector of queues and workers |

mod dead;
mod inspect;
mod pause;
