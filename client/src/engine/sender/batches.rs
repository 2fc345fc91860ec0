//! The commands of the next write, by queue.

use std::collections::HashMap;
use std::sync::Arc;

use redcall_common::keys::QueueKeys;
use redcall_store::PushReply;

use super::command::{Outgoing, OutgoingBatch, Payload};
use crate::engine::direct::Pushed;
use crate::engine::withdrawal::Withdrawal;

/// The commands for one queue.
pub(super) struct Batch {
    pub(super) keys: Arc<QueueKeys>,
    /// Pushed by their callers.
    pub(super) undecided: Vec<(Vec<Outgoing>, PushReply)>,
    pub(super) batches: Vec<OutgoingBatch>,
    pub(super) requests: Vec<Outgoing>,
    pub(super) extended: Vec<Outgoing>,
    pub(super) withdrawn: Vec<Withdrawal>,
    pub(super) forget: Vec<String>,
}

/// The commands of the next write, by queue.
#[derive(Default)]
pub(super) struct Batches(pub(super) HashMap<Arc<str>, Batch>);

impl Batches {
    pub(super) fn of(&mut self, keys: &Arc<QueueKeys>) -> &mut Batch {
        let empty = || Batch {
            keys: keys.clone(),
            undecided: Vec::new(),
            batches: Vec::new(),
            requests: Vec::new(),
            extended: Vec::new(),
            withdrawn: Vec::new(),
            forget: Vec::new(),
        };
        self.0.entry(keys.name().into()).or_insert_with(empty)
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) {
        let batch = self.of(&outgoing.route.keys);
        match outgoing.payload {
            Payload::Scripted(_) => batch.extended.push(outgoing),
            Payload::Push(_) | Payload::Taken => batch.requests.push(outgoing),
        }
    }

    pub(super) fn withdraw(&mut self, withdrawal: Withdrawal) {
        self.of(&withdrawal.origin.keys).withdrawn.push(withdrawal);
    }

    pub(super) fn add_pushed(&mut self, pushed: Pushed) {
        match pushed {
            Pushed::Unsent(requests) => {
                requests.into_iter().for_each(|outgoing| self.push(outgoing));
            }
            Pushed::Undecided { route, requests, reply } => {
                self.of(&route.keys).undecided.push((requests, reply));
            }
        }
    }
}
