//! Execution of console verbs, by the code of the command line, over one client.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redcall_client::Client;
use redcall_common::output as out;
use serde_json::json;
use tokio::task::{AbortHandle, JoinSet};

use super::names::Names;
use super::parse::{Parsed, Timeout, Verb, parse};
use super::print::{self, Printer, Sent};
use crate::call::Call;
use crate::events::Tail;
use crate::service::Service;
use crate::{queues, workers};
use redcall_common::failure::Failure;
use redcall_common::signals::until_interrupted;

/// Maximum age of the workers' names at a prompt.
const NAMES_MAX_AGE: Duration = Duration::from_secs(5);
/// Message of Ctrl-C during a read-only request.
pub(super) const INTERRUPTED: &str = "interrupted";

/// State kept between lines.
pub(super) struct Session {
    client: Client,
    as_json: bool,
    /// Timeout of lines that set none.
    timeout: Option<Duration>,
    /// Nonce of the last command sent.
    nonce: u64,
    names: Names,
    refreshed_at: Instant,
    printer: Printer,
    /// Printing tasks of commands; each returns `true` if its command succeeded.
    commands: JoinSet<bool>,
    /// `true` if all finished commands succeeded.
    succeeded: bool,
    /// Printing tasks of topics.
    tails: JoinSet<()>,
    subscribed: HashMap<String, AbortHandle>,
}

/// Continuation of the session after a line.
pub(super) enum Flow {
    Continue,
    Quit,
}

impl Session {
    pub(super) fn new(client: &Client, names: Names, printer: Printer, as_json: bool) -> Self {
        Self {
            client: client.clone(),
            as_json,
            timeout: None,
            nonce: 0,
            names,
            refreshed_at: Instant::now(),
            printer,
            commands: JoinSet::new(),
            succeeded: true,
            tails: JoinSet::new(),
            subscribed: HashMap::new(),
        }
    }

    /// Refreshes the names of the workers in the background, if they are old.
    pub(super) fn refresh_names(&mut self) {
        if self.refreshed_at.elapsed() < NAMES_MAX_AGE {
            return;
        }
        self.refreshed_at = Instant::now();
        let (names, client) = (self.names.clone(), self.client.clone());
        tokio::spawn(async move { names.refresh(&client).await });
    }

    /// Executes a line.
    pub(super) async fn execute(&mut self, line: &str) -> Result<Flow, Failure> {
        // Removes finished tasks.
        while self.tails.try_join_next().is_some() {}
        self.collect();
        let verb = match parse(line)? {
            Parsed::Nothing => return Ok(Flow::Continue),
            Parsed::Help(text) if self.as_json => {
                out::line(json!({ "help": text }))?;
                return Ok(Flow::Continue);
            }
            Parsed::Help(text) => {
                out::line(text.trim_end())?;
                return Ok(Flow::Continue);
            }
            Parsed::Verb(verb) => *verb,
        };
        let client = &self.client.clone();
        let (as_json, timeout) = (self.as_json, self.timeout);
        match verb {
            // As on the command line.
            Verb::Call(call) | Verb::Wait(call) if call.streams() => {
                call.or_timeout(timeout).print_stream(client).await?;
            }
            Verb::Call(call) if !call.waits() => {
                let sent = call.or_timeout(timeout).send(client, as_json);
                let id = until_interrupted(sent, "interrupted: it may be queued").await?;
                self.names.id(&id);
            }
            Verb::Call(call) | Verb::Wait(call) => {
                let data = call.or_timeout(timeout).answer(client).await?;
                print::answer("result", &data, as_json)?;
            }
            Verb::Stream(call) => call.or_timeout(timeout).print_stream(client).await?,
            Verb::Command(call) => self.command(call.or_timeout(timeout)).await?,
            Verb::Service(service) => self.call_service(service.or_timeout(timeout)).await?,
            Verb::Follow(follow) => follow.or_timeout(timeout).run(client).await?,
            Verb::Events(tail) => self.subscribe(tail).await?,
            Verb::Unfollow { topic } => self.unsubscribe(&topic)?,
            Verb::Publish(publish) => {
                let topic = publish.topic().to_owned();
                until_interrupted(publish.run(client, as_json), "interrupted: it may be published")
                    .await?;
                self.names.topic(&topic);
            }
            Verb::Status(status) => {
                until_interrupted(status.run(client, as_json), INTERRUPTED).await?
            }
            Verb::Monitor(monitor) => {
                until_interrupted(monitor.or_timeout(timeout).run(client, as_json), INTERRUPTED)
                    .await?;
            }
            Verb::Cancel(cancel) => {
                until_interrupted(cancel.run(client, as_json), "interrupted: it may be cancelled")
                    .await?;
            }
            Verb::Queues => until_interrupted(queues::run(client, as_json), INTERRUPTED).await?,
            Verb::Workers => until_interrupted(workers::run(client, as_json), INTERRUPTED).await?,
            Verb::Timeout { time } => self.set_timeout(time)?,
            Verb::Quit => return Ok(Flow::Quit),
        }
        Ok(Flow::Continue)
    }

    /// Sends a command; its updates are printed as they arrive.
    async fn command(&mut self, call: Call) -> Result<(), Failure> {
        self.nonce += 1;
        let sent = Sent { name: call.name().to_owned(), nonce: self.nonce, as_json: self.as_json };
        let updates = call.command(&self.client, self.nonce).await?;
        self.names.id(updates.id());
        let id = match self.as_json {
            true => format!("{:?}", updates.id()), // letters, digits and dashes only
            false => updates.id().to_owned(),
        };
        out::line(sent.format("sent", &id))?;
        self.commands.spawn(sent.print(updates, self.printer.clone()));
        Ok(())
    }

    async fn call_service(&mut self, service: Service) -> Result<(), Failure> {
        let (kind, instance) = (service.kind(), service.named().1.to_owned());
        let data = service.answer(&self.client).await?;
        self.names.instance(&instance);
        Ok(print::answer(kind, &data, self.as_json)?)
    }

    async fn subscribe(&mut self, tail: Tail) -> Result<(), Failure> {
        let topic = tail.topic().to_owned();
        let tailing = until_interrupted(tail.begin(&self.client), INTERRUPTED).await?;
        let printing = print::events(topic.clone(), tailing, self.printer.clone(), self.as_json);
        let before = self.subscribed.insert(topic.clone(), self.tails.spawn(printing));
        if let Some(before) = before {
            before.abort();
        }
        self.names.topic(&topic);
        self.print(&json!({ "following": topic }), &format!("following {topic}"))
    }

    fn unsubscribe(&mut self, topic: &str) -> Result<(), Failure> {
        let was = self.subscribed.remove(topic).filter(|printing| !printing.is_finished());
        if let Some(printing) = &was {
            printing.abort();
        }
        let text = if was.is_some() { "unsubscribed" } else { "not subscribed" };
        let json = json!({ "unfollowed": topic, "was_followed": was.is_some() });
        self.print(&json, &format!("{topic}: {text}"))
    }

    fn set_timeout(&mut self, time: Option<Timeout>) -> Result<(), Failure> {
        if let Some(Timeout(time)) = time {
            self.timeout = time;
        }
        let shown = self.timeout.map(|time| humantime::format_duration(time).to_string());
        let text = format!("timeout {}", shown.as_deref().unwrap_or("default"));
        self.print(&json!({ "timeout": shown }), &text)
    }

    fn print(&self, json: &serde_json::Value, text: &str) -> Result<(), Failure> {
        Ok(match self.as_json {
            true => out::line(json),
            false => out::line(text),
        }?)
    }

    /// Reports the failure of a line. JSON goes to standard output, since programs expect one
    /// answer per line.
    pub(super) fn report(&self, failure: Failure) -> Result<(), Failure> {
        match self.as_json {
            true => out::line(&failure.json)?,
            false => failure.explain(),
        }
        Ok(())
    }

    /// Collects the results of finished commands.
    fn collect(&mut self) {
        while let Some(end) = self.commands.try_join_next() {
            self.succeeded &= end.unwrap_or(false);
        }
    }

    /// Waits for all commands; returns `true` if all succeeded.
    pub(super) async fn finish(&mut self) -> bool {
        while let Some(end) = self.commands.join_next().await {
            self.succeeded &= end.unwrap_or(false);
        }
        self.succeeded
    }

    /// Cancels the unfinished commands and prints their number. The client's flush sends the
    /// cancellations before the program ends.
    pub(super) async fn leave(&mut self) -> Result<(), Failure> {
        self.collect();
        let left = self.commands.len();
        self.commands.shutdown().await;
        self.tails.shutdown().await;
        if left == 0 {
            return Ok(());
        }
        self.print(&json!({ "cancelled": left }), &format!("commands cancelled: {left}"))
    }
}
