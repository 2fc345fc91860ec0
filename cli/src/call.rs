//! `redcall call NAME [DATA]`.

use std::io::Read;
use std::time::Duration;

use clap::Args;
use redcall_client::{CallError, Client, Code, Retry, Update};
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::{Failure, json};

/// What to call, and how.
#[derive(Args)]
pub(crate) struct Call {
    /// The job's name
    name: String,
    /// Its data as JSON; `-` reads it from stdin
    #[arg(default_value = "null")]
    data: String,
    /// Wait for the answer and print it as JSON
    #[arg(long)]
    wait: bool,
    /// Wait, and print progress as it comes: one JSON object per line
    #[arg(long, conflicts_with = "wait")]
    stream: bool,
    /// Queue to send it to; else that of the job's mapping, else `default`
    #[arg(long)]
    queue: Option<String>,
    /// How long to care, such as 500ms, 30s, 10m
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

impl Call {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let data = self.data()?;
        let mut request = client.request(&self.name).data(&data);
        if let Some(queue) = &self.queue {
            request = request.queue(queue);
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        if self.wait {
            println!("{}", request.wait().await.map_err(failed)?.data);
        } else if self.stream {
            let mut updates = request.stream().await.map_err(failed)?;
            while let Some(update) = updates.next().await {
                print(update.map_err(failed)?);
            }
        } else {
            let receipt = request.send().await.map_err(failed)?;
            let (id, queue) = (&receipt.id, &receipt.queue);
            if as_json {
                println!("{}", serde_json::json!({ "id": id, "queue": queue }));
            } else {
                println!("queued {id} on {queue}");
            }
        }
        Ok(())
    }

    fn data(&self) -> Result<Box<RawValue>, Failure> {
        let mut text = self.data.clone();
        if text == "-" {
            text.clear();
            std::io::stdin().read_to_string(&mut text).map_err(|error| usage(&error))?;
        }
        serde_json::from_str(&text).map_err(|error| usage(&error))
    }
}

fn usage(error: &dyn std::error::Error) -> Failure {
    let message = format!("the data is not JSON: {error}");
    let json = json(Code::InvalidData.as_str(), &message);
    let help = "Quote it for the shell, such as '{\"a\": 1}' or '\"text\"'.";
    Failure { problems: vec![Problem::new(message).help(help)], code: 2, json }
}

fn print(update: Update) {
    match update {
        Update::Restarted { attempt } => println!("{{\"restarted\":{attempt}}}"),
        Update::Progress(data) => println!("{{\"progress\":{data}}}"),
        Update::Chunk(data) => println!("{{\"chunk\":{data}}}"),
        Update::Done(response) => println!("{{\"result\":{}}}", response.data),
    }
}

fn failed(error: CallError) -> Failure {
    let code = error.code();
    let again = match code.retry() {
        _ if !error.may_be_queued() && code.retry() != Retry::Useless => {
            "Nothing was queued: calling again is safe."
        }
        Retry::Safe => "It did not run: calling again is safe.",
        Retry::MayRepeat => "It may have run: call again only if running twice is harmless.",
        Retry::Useless => "The same call will fail again; something has to change first.",
    };
    // Display already leads with the code.
    let text = error.to_string();
    let message = text.strip_prefix(code.as_str()).and_then(|rest| rest.strip_prefix(": "));
    let message = message.unwrap_or(&text);
    let mut json = json(code.as_str(), message);
    json["error"]["may_be_queued"] = error.may_be_queued().into();
    if let CallError::Failed(error) = &error {
        json["error"]["data"] = serde_json::to_value(&error.data).unwrap_or_default();
    }
    let exit = if code == Code::Unavailable { 3 } else { 1 };
    Failure { problems: vec![Problem::of(&error).help(again)], code: exit, json }
}
