//! The handlers of the example, one file each. They do not depend on their callers.

mod add;
mod hash_file;
mod log_visit;
mod summarize;
mod word_count;

use redcall_worker::Worker;

use crate::mapping::BUILT_IN;
use crate::root::Root;

/// Adds all handlers to `worker`, which serves `root`.
pub(crate) fn install(worker: Worker, root: Root) -> Worker {
    worker
        .state(root)
        .handler("add", add::add)
        .blocking_handler("hash_file", hash_file::hash_file)
        .handler("log_visit", log_visit::log_visit)
        .handler("summarize", summarize::summarize)
        .blocking_handler(BUILT_IN, word_count::word_count)
}
