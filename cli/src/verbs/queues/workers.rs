//! `redcall workers`.

use clap::Args;
use redcall_client::{Client, Overdue, WorkerInfo};
use redcall_common::output as out;

use crate::output::{table, time};
use crate::verb::ClientVerb;
use redcall_common::failure::Failure;

/// It has no options.
#[derive(Args)]
pub(crate) struct Workers {}

impl ClientVerb for Workers {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let workers = client.inspect().workers().await.map_err(|error| Failure::from(&error))?;
        if as_json {
            return Ok(out::line(serde_json::json!({ "workers": workers }))?);
        }
        if workers.is_empty() {
            return Ok(out::line("no worker is alive")?);
        }
        let head = [
            "name",
            "host",
            "pid#",
            "state",
            "queues",
            "jobs#",
            "running#",
            "capacity#",
            "overdue",
        ];
        Ok(out::line(table(&head, workers.into_iter().map(row)))?)
    }
}

fn row(worker: WorkerInfo) -> Vec<String> {
    let overdue = worker
        .overdue
        .iter()
        .map(|Overdue { id, name, running_ms }| format!("{name} {id} for {}", time(*running_ms)));
    let overdue: Vec<String> = overdue.collect();
    vec![
        worker.name,
        worker.host,
        worker.pid.to_string(),
        worker.state,
        worker.queues.join(","),
        worker.jobs.len().to_string(),
        worker.running.to_string(),
        worker.concurrency.to_string(),
        if overdue.is_empty() { "-".to_owned() } else { overdue.join("; ") },
    ]
}
