//! The operations, by the programs that use them: one file each, with the typed call of its script.

pub(crate) mod admin;
pub mod benching;
pub(crate) mod client;
pub(crate) mod deferred;
pub(crate) mod delegate;
pub mod fuzzing;
pub(crate) mod reply;
pub(crate) mod shared;
pub(crate) mod worker;

use crate::script::Script;

pub use admin::PauseOps;
pub use client::answers::AnswerOps;
pub use client::answers::settle::DeferredSettled;
pub use client::answers::status::States;
pub use client::events::EventOps;
pub use client::events::group::{GroupRead, Member};
pub use client::events::topic::TopicRead;
pub use client::events::watch::EventWatch;
pub use client::send::SendOps;
pub use client::send::cancel::{CancelRequest, Cancellation};
pub use client::send::enqueue::{Enqueued, Item, Waited};
pub use client::send::place::{Idempotency, Placed, Placement, StatusTracking};
pub use deferred::{Covered, DeferredRecord, DeferredRun, EndedDeferred};
pub use shared::SharedOps;
pub use shared::publish::TopicRetention;
pub use shared::state::InstanceState;
pub use worker::polls::PollOps;
pub use worker::polls::outcome::{EndedCall, Outcome, Settlement, SideEffect, StateChange};
pub use worker::polls::poll::{
    LeaseInfo, Leased, LimitRule, PollReply, QueuePoll, Record, Settled, WorkerKeys,
};
pub use worker::polls::pop::BlockingPop;
pub use worker::run::RunOps;
pub use worker::run::claim::{Claim, Claimed};
pub use worker::run::frame::Pushed;
pub use worker::run::seen::Remembered;
pub use worker::upkeep::heartbeat::{Heartbeat, HeartbeatRequest};
pub use worker::upkeep::promote::Promoted;
pub use worker::upkeep::queue_state::QueueState;
pub use worker::upkeep::release::Released;
pub use worker::upkeep::rotation::{Fault, LimitFault};
pub use worker::upkeep::tally::KeptAnswers;
pub use worker::upkeep::tick::{Tick, Ticked};
pub use worker::upkeep::times::TimeAhead;
pub use worker::upkeep::{Tallies, UpkeepOps};

/// Returns every script.
pub(crate) fn scripts() -> Vec<&'static Script> {
    let groups = [
        shared::scripts(),
        client::send::scripts(),
        client::answers::scripts(),
        client::events::scripts(),
        worker::polls::scripts(),
        worker::run::scripts(),
        worker::upkeep::scripts(),
        admin::scripts(),
    ];
    groups.concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// All files below a folder of `lua/`.
    fn files(folder: &str) -> Vec<PathBuf> {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lua").join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    #[test]
    fn each_lua_file_is_a_script_or_a_part_of_one() {
        let files_of_scripts = files("scripts");
        let named: BTreeSet<&str> = files_of_scripts
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap())
            .collect();
        let all: BTreeSet<&str> = scripts().iter().map(|script| script.name()).collect();
        assert_eq!(named, all);
        for part in files("parts") {
            let text = std::fs::read_to_string(&part).unwrap();
            let text = text.replace("<8,200 blanks>", &" ".repeat(8200));
            assert!(scripts().iter().any(|script| script.text().contains(&text)), "{part:?}");
        }
    }
}
