//! `redcall pause` and `redcall resume`.

use clap::Args;
use redcall_client::{CallError, Client, Code};
use redcall_common::output as out;
use redcall_common::report::Problem;

use crate::verb::ClientVerb;
use redcall_common::failure::{Failure, json};
use redcall_common::name::parse_queue;

/// The queues to pause.
#[derive(Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    queues: Queues,
}

/// The queues to resume.
#[derive(Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    queues: Queues,
}

/// The queues to change.
#[derive(Args)]
struct Queues {
    /// Names of the queues
    #[arg(required = true, value_parser = parse_queue)]
    queues: Vec<String>,
}

impl ClientVerb for Pause {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        self.queues.set(client, true, as_json).await
    }
}

impl ClientVerb for Resume {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        self.queues.set(client, false, as_json).await
    }
}

impl Queues {
    /// Pauses or resumes them.
    async fn set(self, client: &Client, paused: bool, as_json: bool) -> Result<(), Failure> {
        let (mut done, mut lines) = (Vec::new(), Vec::new());
        for queue in &self.queues {
            let changed =
                if paused { client.pause(queue).await } else { client.resume(queue).await };
            let changed = match changed {
                Ok(changed) => changed,
                Err(error) if as_json || lines.is_empty() => return Err(failed(error)),
                Err(error) => {
                    // Report the queues done so far.
                    out::line(lines.join("\n"))?;
                    return Err(failed(error));
                }
            };
            done.push(serde_json::json!({ "queue": queue, "paused": paused, "changed": changed }));
            lines.push(format!("{queue}: {}", text(paused, changed)));
        }
        let report = match as_json {
            true => serde_json::json!({ "queues": done }).to_string(),
            false => lines.join("\n"),
        };
        let done = || format!("All queues are done: {}.", lines.join("; "));
        Ok(out::line(report).map_err(|error| error.after(done()))?)
    }
}

fn text(paused: bool, changed: bool) -> &'static str {
    match (paused, changed) {
        (true, true) => "paused: running jobs finish, no job starts",
        (true, false) => "already paused",
        (false, true) => "resumed",
        (false, false) => "not paused",
    }
}

fn failed(error: CallError) -> Failure {
    let (code, exit) = match error.code() {
        code @ Code::InvalidRequest => (code, 2),
        code => (code, 3),
    };
    let json = json(code.as_str(), &error.to_string());
    let problem = Problem::of(&error).help("Repeating the command is safe.");
    Failure { problems: vec![problem], code: exit, json }
}
