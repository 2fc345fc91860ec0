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
    let head = ["queue", "waiting#", "oldest#", "running#", "parked#", "dead#", "workers#"];
    println!("{}", table(&head, queues.into_iter().map(row)));
    Ok(())
}

fn row(queue: QueueInfo) -> Vec<String> {
    let QueueInfo { queue, length, running, dead, parked, workers, oldest_ms } = queue;
    let oldest = oldest_ms.map_or_else(|| "-".to_owned(), time);
    let number = |number: u64| number.to_string();
    vec![
        queue,
        number(length),
        oldest,
        number(running),
        number(parked),
        number(dead),
        number(workers),
    ]
}
