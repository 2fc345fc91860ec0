//! `redcall dead show`.

use clap::Args;
use redcall_client::{Client, Code, DeadLetter, Run};
use redcall_common::clean::clean;
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;

use crate::output::{line, moment, table, time};
use redcall_common::failure::{Failure, json};
use redcall_common::name::parse_queue;

/// The letter to show.
#[derive(Args)]
pub(crate) struct Show {
    /// Id of the request (its newest letter is shown), or of the entry in the stream
    id: String,
    /// Queue of the letter
    #[arg(long, default_value = "default", value_parser = parse_queue)]
    queue: String,
}

impl Show {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let letter = client.dead(&self.queue).show(&self.id).await;
        let letter = letter.map_err(|error| Failure::from(&error))?;
        let Some(letter) = letter else { return Err(not_found(&self.id, &self.queue)) };
        if as_json {
            // Strings, numbers and JSON text: cannot fail.
            out::line(serde_json::to_string(&letter).unwrap_or_default())?;
        } else {
            print(&letter)?;
        }
        Ok(())
    }
}

fn not_found(id: &str, queue: &str) -> Failure {
    let message = format!("no dead letter of queue `{queue}` has the id `{id}`");
    let json = json(Code::NotFound.as_str(), &message);
    let help = "List the letters with `redcall dead list`; select another queue with --queue.";
    Failure { problems: vec![Problem::new(message).help(help)], code: 1, json }
}

fn print(letter: &DeadLetter) -> Result<(), Unwritten> {
    let job = letter.name.as_deref().unwrap_or("-");
    let facts = [
        ("entry", letter.entry.as_str()),
        ("time", &moment(letter.at_ms)),
        ("id", &letter.id),
        ("job", job),
        ("code", &letter.code),
        ("worker", &letter.worker),
        ("reason", &letter.reason),
    ];
    for (name, fact) in facts {
        out::line(format_args!("{name:<8}{}", clean(fact)))?;
    }
    if !letter.history.is_empty() {
        let head = ["attempt#", "started", "took#", "code", "worker", "message"];
        out::line(format_args!("\n{}", table(&head, letter.history.iter().map(row))))?;
    }
    match letter.data() {
        Some(data) => out::line(format_args!("\ndata\n{}", clean(data.get()))),
        None => {
            let request = String::from_utf8_lossy(&letter.request);
            out::line(format_args!("\nrequest\n{}", clean(&request)))
        }
    }
}

fn row(run: &Run) -> Vec<String> {
    let unknown = || "-".to_owned();
    let took = run.started_at.zip(run.ended_at).map(|(start, end)| end.saturating_sub(start));
    vec![
        run.attempt.to_string(),
        run.started_at.or(run.ended_at).map_or_else(unknown, moment),
        took.map_or_else(unknown, time),
        line(&run.code, 40),
        line(&run.worker, 64),
        line(&run.message, 2000),
    ]
}
