//! Where each request is, and whether it may be there.

use std::collections::{BTreeMap, BTreeSet};

use redcall_store::StoreError;

use super::calls::Case;
use super::world::Contents;

/// The places of one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Of {
    /// Keys from which a worker gets it, or a token answers it.
    waits: Vec<String>,
    /// Dead letters that hold it.
    dead: usize,
    /// Final frames, each once.
    answers: BTreeSet<String>,
    /// `true` if it has joined a call.
    joined: bool,
}

/// All requests of the queue.
#[derive(Debug)]
pub(super) struct Places(BTreeMap<String, Of>);

/// Returns the id of an element, which is its first field; its whole text if it has none.
fn id_of(raw: &str) -> &str {
    let id = raw.strip_prefix(r#"{"id":""#).and_then(|rest| rest.split('"').next());
    id.unwrap_or(raw)
}

fn is_final(text: &str) -> bool {
    text.contains(r#""type":"result""#) || text.contains(r#""type":"error""#)
}

impl Places {
    /// Reads them from `contents`.
    pub(super) fn read(contents: &Contents, base: &str) -> Self {
        let mut all = Self(BTreeMap::new());
        for (key, texts) in contents {
            let Some(what) = key.strip_prefix(base).and_then(|rest| rest.strip_prefix(':')) else {
                continue;
            };
            let fields = texts.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
            let (head, arg) = what.split_once(':').unwrap_or((what, ""));
            match (head, arg.is_empty()) {
                ("queue", true) | ("inbox" | "limited" | "parked", false) => {
                    texts.iter().for_each(|raw| all.waits(id_of(raw), key));
                }
                ("leases", false) | ("scheduled", true) => {
                    fields.for_each(|(id, _)| all.waits(id, key));
                }
                ("deferred", false) if fields.clone().any(|(field, _)| field == "raw") => {
                    all.waits(arg, key);
                }
                ("idem", false) => {
                    let waiters = fields.filter_map(|(field, _)| field.strip_prefix("w:"));
                    waiters.for_each(|id| all.of(id).joined = true);
                }
                ("response", false) => {
                    let final_frames = texts.iter().filter(|frame| is_final(frame));
                    final_frames.for_each(|frame| _ = all.of(arg).answers.insert(frame.clone()));
                }
                ("dead", true) => fields.for_each(|(id, raw)| match is_final(raw) {
                    // An answer whose response key was not writable.
                    true => _ = all.of(id).answers.insert(raw.to_owned()),
                    false => all.of(id_of(raw)).dead += 1,
                }),
                _ => {}
            }
        }
        all
    }

    fn of(&mut self, id: &str) -> &mut Of {
        self.0.entry(id.to_owned()).or_default()
    }

    fn waits(&mut self, id: &str, key: &str) {
        self.of(id).waits.push(key.to_owned());
    }

    /// Returns `true` if no worker has anything to do.
    pub(super) fn is_all_done(&self) -> bool {
        self.0.values().all(|of| of.waits.is_empty())
    }

    /// Returns the requests of `self` that are lost or doubled after the call.
    pub(super) fn wrong_now(
        &self,
        now: &Self,
        case: &Case,
        result: &Result<(), StoreError>,
    ) -> Vec<String> {
        let (none, mut wrong) = (Of::default(), Vec::new());
        let offered = case.offers.iter().copied().filter(|_| result.is_ok());
        for id in self.0.keys().map(String::as_str).chain(offered) {
            let before = self.0.get(id).unwrap_or(&none);
            let of = now.0.get(id).unwrap_or(&none);
            if *of == none && !case.vanish.contains(&id) {
                wrong.push(format!("LOST: {id}"));
            }
            if of.waits.len() > 1 || (!of.waits.is_empty() && of.dead > before.dead) {
                wrong.push(format!("DOUBLE: {id} {of:?}"));
            }
        }
        let is_refused = result.as_ref().is_err_and(|error| !error.may_have_happened());
        for id in case.offers.iter().filter(|_| is_refused) {
            if let Some(of) = now.0.get(*id) {
                wrong.push(format!("REFUSED AND ACCEPTED: {id} {of:?}"));
            }
        }
        wrong
    }

    /// The same, once all has run that there was; `runs` are the ids that were leased for that.
    pub(super) fn wrong_at_the_end(&self, end: &Self, case: &Case, runs: &[String]) -> Vec<String> {
        let (none, mut wrong) = (Of::default(), Vec::new());
        for id in self.0.keys().map(String::as_str).chain(case.offers.iter().copied()) {
            let of = end.0.get(id).unwrap_or(&none);
            let ran = runs.iter().filter(|run| *run == id).count();
            if !of.waits.is_empty() {
                wrong.push(format!("STUCK: {id} {of:?}"));
            } else if of.dead + of.answers.len() == 0 && !case.vanish.contains(&id) {
                wrong.push(format!("LOST AT THE END: {id}, which ran {ran} times"));
            }
            if of.dead > 1 || of.answers.len() > 1 || ran > 1 || (ran == 1 && of.dead == 1) {
                wrong.push(format!("ENDED TWICE: {id} {of:?}, which ran {ran} times"));
            }
        }
        wrong
    }
}
