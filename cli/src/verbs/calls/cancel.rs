//! `redcall cancel ID`.

use clap::Args;
use redcall_client::{CallError, Cancellation, Client, Code};
use redcall_common::output as out;
use redcall_common::report::Problem;

use crate::verb::ClientVerb;
use redcall_common::failure::{Failure, json};

/// The job to cancel.
#[derive(Args)]
pub(crate) struct Cancel {
    /// Id of the request
    id: String,
    /// Queue of the request; else all queues are searched
    #[arg(long)]
    queue: Option<String>,
}

impl ClientVerb for Cancel {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let id = &self.id;
        let found = match &self.queue {
            Some(queue) => client.cancel_in(queue, id).await,
            None => client.cancel(id).await,
        };
        let (found, text) = match found.map_err(failed)? {
            Cancellation::Running => ("running", "running; the worker was notified"),
            Cancellation::Delayed => ("delayed", "cancelled before it was due"),
            Cancellation::Deferred => ("deferred", "deferred; the caller gets `cancelled`"),
            Cancellation::Unseen => {
                ("unseen", "not running; if the job is still queued, it will not start")
            }
            Cancellation::Kept => ("kept", "not cancelled: other callers wait for its answer"),
        };
        let line = match as_json {
            true => serde_json::json!({ "id": id, "found": found }).to_string(),
            false => format!("{id}: {text}"),
        };
        let done = || format!("Cancellation of job {id} was requested: {text}.");
        Ok(out::line(line).map_err(|error| error.after(done()))?)
    }
}

fn failed(error: CallError) -> Failure {
    let (code, exit, help) = match error.code() {
        Code::InvalidRequest => {
            (error.code(), 2, "An id has 1 to 64 of [A-Za-z0-9_-]; `redcall call` prints it.")
        }
        code => (code, 3, "Repeating the command is safe."),
    };
    let json = json(code.as_str(), &error.to_string());
    Failure { problems: vec![Problem::of(&error).help(help)], code: exit, json }
}
