//! `redcall queues`.

use redcall_client::{Client, QueueInfo};

use crate::output::{table, time};
use crate::{Failure, unreachable};

pub(crate) async fn run(client: &Client, as_json: bool) -> Result<(), Failure> {
    let queues = client.inspect().queues().await.map_err(|error| unreachable(&error))?;
    if as_json {
        println!("{}", serde_json::json!({ "queues": queues }));
        return Ok(());
    }
    if queues.is_empty() {
        println!("no queue has been used yet");
        return Ok(());
    }
    let head = [
        "queue", "waiting#", "oldest#", "running#", "later#", "sorted#", "parked#", "dead#",
        "workers#", "state",
    ];
    println!("{}", table(&head, queues.into_iter().map(row)));
    Ok(())
}

fn row(queue: QueueInfo) -> Vec<String> {
    let oldest = queue.oldest_ms.map_or_else(|| "-".to_owned(), time);
    let number = |number: u64| number.to_string();
    vec![
        queue.queue,
        number(queue.length),
        oldest,
        number(queue.running),
        number(queue.scheduled),
        number(queue.sorted),
        number(queue.parked),
        number(queue.dead),
        number(queue.workers),
        if queue.paused { "paused" } else { "" }.to_owned(),
    ]
}
