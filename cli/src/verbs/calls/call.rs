//! `redcall call NAME [DATA]`.

use std::io::Read;
use std::time::{Duration, SystemTime};

use clap::Args;
use redcall_client::{
    CallError, Client, Code, Durability, FrameStream, Receipt, RequestBuilder, Update,
};
use redcall_common::output::{self as out, Unwritten};
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::output::one_line;
use crate::verb::ClientVerb;
use crate::verbs::calls::advice;
use redcall_common::failure::{Failure, json};
use redcall_common::result_kind::NONCE;
use redcall_common::signals::until_interrupted;

/// The job and the options of its call.
#[derive(Args)]
pub(crate) struct Call {
    /// Name of the job
    name: String,
    /// Data of the job as JSON; `-` reads it from stdin
    #[arg(default_value = "null", allow_negative_numbers = true)]
    data: String,
    /// Wait for the answer and print it as JSON
    #[arg(long)]
    wait: bool,
    /// Wait, and print progress as it arrives: one JSON object per line
    #[arg(long, conflicts_with = "wait")]
    stream: bool,
    /// Queue; else that of the job in the settings, else `default`
    #[arg(long)]
    queue: Option<String>,
    /// Give up waiting after this time, such as 500ms, 30s, 10m; includes connecting
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Delay the job by this time, such as 10m; its timeout begins when it is due
    #[arg(
        long,
        value_name = "TIME",
        value_parser = humantime::parse_duration,
        conflicts_with = "at"
    )]
    delay: Option<Duration>,
    /// Start the job at this time, such as 2026-01-31T18:00:00Z or 2026-01-31T19:00:00+01:00
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    at: Option<SystemTime>,
    /// Idempotency key: calls with the same key, job and queue are one call
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Header for the handler, such as nonce=7; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Durability level required before the call counts as queued: memory, replicated, fsynced
    #[arg(long, value_name = "LEVEL", conflicts_with_all = ["wait", "stream"])]
    durability: Option<Durability>,
    /// Keep the job's status for this time after its last change: see `redcall status`, `monitor`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    track_status: Option<Duration>,
    /// The parsed data.
    #[arg(skip)]
    read: Option<Box<RawValue>>,
}

/// Report of work done before an answer that cannot be printed.
pub(crate) const RAN: &str = "The job has run; its answer is lost.";

fn header(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses a time in UTC (`Z`) or with an offset.
pub(crate) fn time(text: &str) -> Result<SystemTime, String> {
    let utc = |text: &str| humantime::parse_rfc3339(text).map_err(|error| error.to_string());
    let Some((local, ahead, offset)) = split_offset(text) else { return utc(text) };
    let time = utc(&format!("{local}Z"))?;
    let time = if ahead { time.checked_sub(offset) } else { time.checked_add(offset) };
    time.ok_or_else(|| "the time is out of range".to_owned())
}

/// Splits off an offset `+hh:mm` or `-hh:mm`: local time, `true` if ahead of UTC, offset.
fn split_offset(text: &str) -> Option<(&str, bool, Duration)> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let ahead = offset.starts_with('+');
    let (hours, minutes) = offset.strip_prefix(['+', '-'])?.split_once(':')?;
    let number = |digits: &str, below: u64| {
        let whole = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|number| whole && *number < below)
    };
    let minutes = number(hours, 24)? * 60 + number(minutes, 60)?;
    Some((local, ahead, Duration::from_secs(minutes * 60)))
}

impl ClientVerb for Call {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        if self.waits() {
            out::line(self.answer(client).await?).map_err(|error| error.after(RAN))?;
        } else if self.streams() {
            self.print_stream(client).await?;
        } else {
            self.send(client, as_json).await?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Failure> {
        self.read_data()
    }

    fn timeout(&mut self) -> Option<&mut Option<Duration>> {
        Some(&mut self.timeout)
    }

    /// The timeout of a delayed call begins when it is due.
    fn deducts_connecting(&self) -> bool {
        self.delay.is_none() && self.at.is_none()
    }
}

impl Call {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self, client: &Client) -> Result<Box<RawValue>, Failure> {
        let request = self.request(client)?;
        let answer = async { request.wait().await.map_err(failed) };
        let answer = unless_interrupted(answer).await;
        Ok(advice::with_names(answer, &self.name, client).await?.data)
    }

    /// Prints updates until the answer.
    pub(crate) async fn print_stream(mut self, client: &Client) -> Result<(), Failure> {
        let request = self.request(client)?;
        let printing = async { print_all(request.stream().await.map_err(failed)?).await };
        let printed = unless_interrupted(printing).await;
        advice::with_names(printed, &self.name, client).await
    }

    /// Enqueues the job, prints the receipt and returns the request's id.
    pub(crate) async fn send(mut self, client: &Client, as_json: bool) -> Result<String, Failure> {
        let receipt = self.request(client)?.send().await.map_err(failed)?;
        let Receipt { id, queue, durability, deduplicated } = receipt;
        let done = |error: Unwritten| error.after(format!("The job is queued: {id} on {queue}."));
        if as_json {
            let json = serde_json::json!({
                "id": id, "queue": queue, "deduplicated": deduplicated,
                "durability": durability.as_str(),
            });
            out::line(json).map_err(done)?;
        } else {
            let what = if deduplicated { "joined" } else { "queued" };
            out::line(format_args!("{what} {id} on {queue}")).map_err(done)?;
            if Some(durability) < self.durability {
                out::hint(format_args!(
                    "only {durability} was confirmed in time; the job is queued"
                ));
            }
        }
        Ok(id)
    }

    /// Sends the job as the command with this `nonce`; returns its updates.
    pub(crate) async fn command(
        mut self,
        client: &Client,
        nonce: u64,
    ) -> Result<FrameStream, Failure> {
        self.header.retain(|(name, _)| name != NONCE);
        self.header.push((NONCE.to_owned(), nonce.to_string()));
        let request = self.request(client)?;
        let sent = async { request.stream().await.map_err(failed) };
        unless_interrupted(sent).await
    }

    /// Returns the job's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if it waits for the answer.
    pub(crate) fn waits(&self) -> bool {
        self.wait
    }

    /// Returns `true` if it prints every update.
    pub(crate) fn streams(&self) -> bool {
        self.stream
    }

    fn request(&mut self, client: &Client) -> Result<RequestBuilder, Failure> {
        self.read_data()?;
        let mut request = client.request(&self.name).data(&self.read);
        if let Some(queue) = &self.queue {
            request = request.queue(queue);
        }
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        if let Some(delay) = self.delay {
            request = request.delay(delay);
        }
        if let Some(at) = self.at {
            request = request.at(at);
        }
        if let Some(key) = &self.idempotency_key {
            request = request.idempotency_key(key);
        }
        for (name, value) in &self.header {
            request = request.header(name, value);
        }
        if let Some(kept) = self.track_status {
            request = request.track_status(kept);
        }
        if let Some(durability) = self.durability {
            request = request.durability(durability);
        }
        Ok(request)
    }

    /// Parses the data once.
    fn read_data(&mut self) -> Result<(), Failure> {
        if self.read.is_none() {
            self.read = Some(read_json(&self.data)?);
        }
        Ok(())
    }
}

/// Parses an argument as JSON, or stdin if it is `-`.
pub(crate) fn read_json(text: &str) -> Result<Box<RawValue>, Failure> {
    let mut read = String::new();
    if text == "-" {
        std::io::stdin().read_to_string(&mut read).map_err(|error| usage(&error))?;
    }
    let text = if text == "-" { &read } else { text };
    serde_json::from_str(text).map_err(|error| usage(&error))
}

/// Ends `waiting` at a signal: dropping it cancels its call.
pub(crate) async fn unless_interrupted<T>(
    waiting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    until_interrupted(waiting, "interrupted: the call was cancelled").await
}

pub(crate) fn usage(error: &dyn std::error::Error) -> Failure {
    let message = format!("the data are not valid JSON: {error}");
    let json = json(Code::InvalidData.as_str(), &message);
    let help = "Expected a JSON value, quoted for the shell, such as '{\"a\": 1}' or '\"text\"'.";
    Failure { problems: vec![Problem::new(message).help(help)], code: 2, json }
}

/// Prints a stream to its end, one line per update.
pub(crate) async fn print_all(mut updates: FrameStream) -> Result<(), Failure> {
    while let Some(update) = updates.next().await {
        match update.map_err(failed)? {
            Update::Restarted { attempt } => out::line(format_args!("{{\"restarted\":{attempt}}}")),
            Update::Pending => out::line(format_args!("{{\"pending\":null}}")),
            Update::Deferred { data, .. } => part("deferred", &data),
            Update::Progress(data) => part("progress", &data),
            Update::Chunk(data) => part("chunk", &data),
            Update::Done(response) => {
                part("result", &response.data).map_err(|error| error.after(RAN))
            }
        }?;
    }
    Ok(())
}

fn part(kind: &str, data: &RawValue) -> Result<(), Unwritten> {
    out::line(format_args!("{{\"{kind}\":{}}}", one_line(data.get())))
}

pub(crate) fn failed(error: CallError) -> Failure {
    let code = error.code();
    // The message starts with the code.
    let text = error.to_string();
    let message = text.strip_prefix(code.as_str()).and_then(|rest| rest.strip_prefix(": "));
    let message = message.unwrap_or(&text);
    let mut json = json(code.as_str(), message);
    if !error.is_read_or_admin() {
        json["error"]["may_be_queued"] = error.may_be_queued().into();
    }
    if let CallError::Failed(error) = &error {
        json["error"]["data"] = serde_json::to_value(&error.data).unwrap_or_default();
    }
    let exit = if code == Code::Unavailable { 3 } else { 1 };
    let problem = Problem::of(&error).help(advice::help(&error));
    Failure { problems: vec![problem], code: exit, json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_parsed_with_its_offset() {
        let at = |text| time(text).ok().map(humantime::format_rfc3339_seconds);
        let same = at("2026-01-31T18:00:00Z").map(|time| time.to_string());
        assert_eq!(same.as_deref(), Some("2026-01-31T18:00:00Z"));
        for text in ["2026-01-31T19:30:00+01:30", "2026-01-31T10:00:00-08:00"] {
            assert_eq!(at(text).map(|time| time.to_string()), same, "{text}");
        }
        for wrong in ["soon", "", "2026-01-31", "2026-01-31T18:00:00", "2026-01-31T18:00:00+1:00"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(time("2026-01-31T18:00:00+25:00").is_err());
    }
}
