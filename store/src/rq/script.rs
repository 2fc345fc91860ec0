//! The scripts that run at rq's Redis. No program but the gateway calls them.

use std::sync::LazyLock;

use crate::script::{Reading, Script, WhenFull};

/// Declares a script, and its reaction to a full Redis.
macro_rules! scripts {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal, $full:ident;)+) => {
        $($(#[doc = $doc])+
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let body = include_str!(concat!("lua/", $file, ".lua"));
            let read = |value, _| Ok(Reading::of(value));
            Script::new(concat!("rq_", $file), WhenFull::$full, &[], read, &[], &[], body)
        });)+

        /// Returns every script.
        pub(super) fn all() -> Vec<&'static Script> {
            vec![$(&$name),+]
        }
    };
}

scripts! {
    /// Move jobs into an inbox, and read them. Existing work must end, or memory is never freed.
    TAKE = "take", Runs;
    /// End a job, and answer its caller.
    FINISH = "finish", Runs;
    /// Move a job out of an inbox, to be sent later.
    LATER = "later", Runs;
    /// Renew a lease, and find ended ones.
    BEAT = "beat", Runs;
    /// End the own lease.
    LEAVE = "leave", Runs;
    /// Read an answer.
    ANSWER = "answer", Reads;
}
