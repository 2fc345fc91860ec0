//! `redcall status ID`, `redcall monitor ID`.

use std::time::Duration;

use clap::Args;
use redcall_client::{CallError, Client, Code, JobRef, JobStatus};
use redcall_common::output as out;
use redcall_common::report::Problem;

use crate::output::{line, moment};
use crate::verb::ClientVerb;
use redcall_common::failure::{Failure, json};
use redcall_common::signals::unless_closed;

/// The job whose status to print.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    job: Job,
}

/// The job whose status to follow.
#[derive(Args)]
pub(crate) struct Monitor {
    #[command(flatten)]
    job: Job,
    /// Stop after this time, such as 30s, 1h; else the setting client.timeout
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

/// A job.
#[derive(Args)]
struct Job {
    /// Id or response key of the request
    id: String,
    /// Queue of the request; else all queues are searched
    #[arg(long)]
    queue: Option<String>,
}

impl Job {
    fn named(&self) -> JobRef<'_> {
        match &self.queue {
            Some(queue) => (queue.as_str(), self.id.as_str()).into(),
            None => self.id.as_str().into(),
        }
    }
}

impl ClientVerb for Status {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let history = client.status_history(self.job.named()).await.map_err(failed)?;
        if as_json {
            let mut json = serde_json::to_value(history.last()).unwrap_or_default();
            json["history"] = serde_json::to_value(&history).unwrap_or_default();
            return Ok(out::line(json)?);
        }
        Ok(history.iter().try_for_each(|status| out::line(format_status(status)))?)
    }
}

impl ClientVerb for Monitor {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let named = self.job.named();
        let monitor = match self.timeout {
            Some(timeout) => client.monitor_timeout(named, timeout).await,
            None => client.monitor(named).await,
        };
        let mut states = monitor.map_err(failed)?;
        let mut next = async || states.next().await.transpose().map_err(failed);
        while let Some(status) = unless_closed(next()).await? {
            let line = match as_json {
                // Strings and numbers: cannot fail.
                true => serde_json::to_string(&status).unwrap_or_default(),
                false => format_status(&status),
            };
            out::line(line)?;
        }
        Ok(())
    }

    fn timeout(&mut self) -> Option<&mut Option<Duration>> {
        Some(&mut self.timeout)
    }
}

/// Formats a state on one line.
fn format_status(status: &JobStatus) -> String {
    let mut text = format!("{}  {}", moment(status.at_ms), status.state);
    if status.attempt > 1 {
        text.push_str(&format!("  attempt {}", status.attempt));
    }
    if let Some(error) = &status.error {
        text.push_str(&format!("  {}: {}", error.code, line(&error.message, 200)));
    }
    text
}

fn failed(error: CallError) -> Failure {
    let (code, exit, help) = match error.code() {
        Code::InvalidRequest => (error.code(), 2, "An id has 1 to 64 of [A-Za-z0-9_-]."),
        Code::NotFound => (
            error.code(),
            1,
            "Track it: `redcall call --track-status 1h`, or `status = \"1h\"` in `[jobs.NAME]`.",
        ),
        code @ Code::DeadlineExceeded => {
            (code, 1, "The job continues: monitor it again with a longer --timeout.")
        }
        code => (code, 3, "Repeating the command is safe."),
    };
    let json = json(code.as_str(), &error.to_string());
    Failure { problems: vec![Problem::of(&error).help(help)], code: exit, json }
}
