//! `redcall queues`.

use redcall_client::{Client, QueueInfo};
use redcall_common::output as out;

use crate::output::{table, time};
use crate::{Failure, unreachable};

pub(crate) async fn run(client: &Client, as_json: bool) -> Result<(), Failure> {
    let queues = client.inspect().queues().await.map_err(|error| unreachable(&error))?;
    if as_json {
        return Ok(out::line(serde_json::json!({ "queues": queues }))?);
    }
    if queues.is_empty() {
        return Ok(out::line("no queue has been used yet")?);
    }
    let head = [
        "queue",
        "state",
        "waiting#",
        "oldest#",
        "running#",
        "pending#",
        "scheduled#",
        "parked#",
        "limited#",
        "dead#",
        "workers#",
    ];
    Ok(out::line(table(&head, queues.into_iter().map(row)))?)
}

fn row(queue: QueueInfo) -> Vec<String> {
    let oldest = queue.oldest_ms.map_or_else(|| "-".to_owned(), time);
    let state = if queue.paused { "paused" } else { "open" };
    let number = |number: u64| number.to_string();
    vec![
        queue.queue,
        state.to_owned(),
        number(queue.length),
        oldest,
        number(queue.running),
        number(queue.pending),
        number(queue.scheduled),
        number(queue.parked_requests),
        number(queue.limited),
        number(queue.dead),
        number(queue.workers),
    ]
}
