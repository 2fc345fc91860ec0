//! `redcall queues`.

use clap::Args;
use redcall_client::{Client, Listing, QueueInfo, StoreError};
use redcall_common::output as out;
use serde_json::{Value, json};

use crate::output::{table, time};
use crate::verb::ClientVerb;
use redcall_common::failure::Failure;

/// Note on a listing that is incomplete.
pub(crate) const INCOMPLETE: &str = "Not every key of Redis was scanned: a queue used only by \
                                     plain RPUSH may be missing.";

/// It has no options.
#[derive(Args)]
pub(crate) struct Queues {}

impl ClientVerb for Queues {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let listing = client.inspect().listing().await.map_err(|error| Failure::from(&error))?;
        let Listing { queues, unreadable, is_complete } = listing;
        if as_json {
            let mut shown = json!({ "queues": queues });
            if !unreadable.is_empty() {
                shown["unreadable"] = unreadable.iter().map(as_error).collect();
            }
            if !is_complete {
                shown["complete"] = false.into();
            }
            return Ok(out::line(shown)?);
        }
        match queues.is_empty() {
            true => out::line("no queue has been used yet")?,
            false => print(queues)?,
        }
        unreadable.iter().for_each(|(queue, error)| hint(queue, error));
        if !is_complete {
            out::hint(INCOMPLETE);
        }
        Ok(())
    }
}

fn as_error((queue, error): &(String, StoreError)) -> Value {
    json!({ "queue": queue, "error": error.to_string() })
}

fn hint(queue: &str, error: &StoreError) {
    out::hint(format_args!("queue {queue} cannot be read: {error}"));
}

fn print(queues: Vec<QueueInfo>) -> Result<(), out::Unwritten> {
    let head = [
        "queue",
        "state",
        "waiting#",
        "oldest#",
        "running#",
        "deferred#",
        "scheduled#",
        "parked#",
        "limited#",
        "dead#",
        "workers#",
    ];
    out::line(table(&head, queues.into_iter().map(row)))
}

fn row(queue: QueueInfo) -> Vec<String> {
    let unknown = if queue.has_unknown_age() { "?" } else { "-" };
    let oldest = queue.oldest_ms.map_or_else(|| unknown.to_owned(), time);
    let state = if queue.paused { "paused" } else { "open" };
    let number = |number: u64| number.to_string();
    vec![
        queue.queue,
        state.to_owned(),
        number(queue.length),
        oldest,
        number(queue.running),
        number(queue.deferred),
        number(queue.scheduled),
        number(queue.parked_requests),
        number(queue.limited),
        number(queue.dead),
        number(queue.workers),
    ]
}
