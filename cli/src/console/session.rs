//! Execution of console verbs, by the code of the command line, over one client.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redcall_client::Client;
use redcall_common::output as out;
use serde_json::json;
use tokio::task::{AbortHandle, JoinSet};

use super::names::Names;
use super::parse::{Said, Timeout, Verb, parse};
use super::print::{self, Printer, Sent};
use crate::call::{Call, until_interrupted};
use crate::events::Tail;
use crate::service::Service;
use crate::{Failure, queues, workers};

/// Maximum age of the workers' names at a prompt.
const FRESH: Duration = Duration::from_secs(5);
/// Message of Ctrl-C during a read-only request.
const GIVEN_UP: &str = "interrupted";

/// State kept between lines.
pub(super) struct Session {
    client: Client,
    as_json: bool,
    /// Timeout of lines that set none.
    timeout: Option<Duration>,
    /// Nonce of the last command sent.
    nonce: u64,
    names: Names,
    asked: Instant,
    printer: Printer,
    /// Printing tasks of commands; each returns `true` if its command succeeded.
    commands: JoinSet<bool>,
    /// `true` if all finished commands succeeded.
    well: bool,
    /// Printing tasks of topics.
    tails: JoinSet<()>,
    followed: HashMap<String, AbortHandle>,
}

/// Whether the session continues.
pub(super) enum Then {
    GoOn,
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
            asked: Instant::now(),
            printer,
            commands: JoinSet::new(),
            well: true,
            tails: JoinSet::new(),
            followed: HashMap::new(),
        }
    }

    /// Refreshes the names of the workers in the background, if they are old.
    pub(super) fn refresh_names(&mut self) {
        if self.asked.elapsed() < FRESH {
            return;
        }
        self.asked = Instant::now();
        let (names, client) = (self.names.clone(), self.client.clone());
        tokio::spawn(async move { names.refresh(&client).await });
    }

    /// Executes a line.
    pub(super) async fn carry_out(&mut self, line: &str) -> Result<Then, Failure> {
        // Removes finished tasks.
        while self.tails.try_join_next().is_some() {}
        self.collect();
        let verb = match parse(line)? {
            Said::Nothing => return Ok(Then::GoOn),
            Said::Help(text) if self.as_json => {
                out::line(json!({ "help": text }))?;
                return Ok(Then::GoOn);
            }
            Said::Help(text) => {
                out::line(text.trim_end())?;
                return Ok(Then::GoOn);
            }
            Said::Verb(verb) => *verb,
        };
        let client = &self.client.clone();
        let (as_json, within) = (self.as_json, self.timeout);
        match verb {
            // As on the command line.
            Verb::Call(call) | Verb::Wait(call) if call.streams() => {
                call.within(within).print_stream(client).await?;
            }
            Verb::Call(call) if !call.waits() => {
                let sent = call.within(within).send(client, as_json);
                let id = until_interrupted(sent, "interrupted: it may be queued").await?;
                self.names.id(&id);
            }
            Verb::Call(call) | Verb::Wait(call) => {
                let data = call.within(within).answer(client).await?;
                print::answer("result", &data, as_json)?;
            }
            Verb::Stream(call) => call.within(within).print_stream(client).await?,
            Verb::Command(call) => self.command(call.within(within)).await?,
            Verb::Service(service) => self.ask(service.within(within)).await?,
            Verb::Follow(follow) => follow.within(within).run(client).await?,
            Verb::Events(tail) => self.follow(tail).await?,
            Verb::Unfollow { topic } => self.unfollow(&topic)?,
            Verb::Publish(publish) => {
                let topic = publish.topic().to_owned();
                until_interrupted(publish.run(client, as_json), "interrupted: it may be published")
                    .await?;
                self.names.topic(&topic);
            }
            Verb::Status(status) => {
                until_interrupted(status.run(client, as_json), GIVEN_UP).await?
            }
            Verb::Monitor(monitor) => {
                until_interrupted(monitor.within(within).run(client, as_json), GIVEN_UP).await?;
            }
            Verb::Cancel(cancel) => {
                until_interrupted(cancel.run(client, as_json), "interrupted: it may be cancelled")
                    .await?;
            }
            Verb::Queues => until_interrupted(queues::run(client, as_json), GIVEN_UP).await?,
            Verb::Workers => until_interrupted(workers::run(client, as_json), GIVEN_UP).await?,
            Verb::Timeout { time } => self.set_timeout(time)?,
            Verb::Quit => return Ok(Then::Quit),
        }
        Ok(Then::GoOn)
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
        out::line(sent.said("sent", &id))?;
        self.commands.spawn(sent.print(updates, self.printer.clone()));
        Ok(())
    }

    async fn ask(&mut self, service: Service) -> Result<(), Failure> {
        let (kind, instance) = (service.kind(), service.named().1.to_owned());
        let data = service.answer(&self.client).await?;
        self.names.instance(&instance);
        Ok(print::answer(kind, &data, self.as_json)?)
    }

    async fn follow(&mut self, tail: Tail) -> Result<(), Failure> {
        let topic = tail.topic().to_owned();
        let tailing = until_interrupted(tail.begin(&self.client), GIVEN_UP).await?;
        let printing = print::events(topic.clone(), tailing, self.printer.clone(), self.as_json);
        let before = self.followed.insert(topic.clone(), self.tails.spawn(printing));
        if let Some(before) = before {
            before.abort();
        }
        self.names.topic(&topic);
        self.say(&json!({ "following": topic }), &format!("following {topic}"))
    }

    fn unfollow(&mut self, topic: &str) -> Result<(), Failure> {
        let was = self.followed.remove(topic).filter(|printing| !printing.is_finished());
        if let Some(printing) = &was {
            printing.abort();
        }
        let said = if was.is_some() { "unsubscribed" } else { "not subscribed" };
        let json = json!({ "unfollowed": topic, "was_followed": was.is_some() });
        self.say(&json, &format!("{topic}: {said}"))
    }

    fn set_timeout(&mut self, time: Option<Timeout>) -> Result<(), Failure> {
        if let Some(Timeout(time)) = time {
            self.timeout = time;
        }
        let shown = self.timeout.map(|time| humantime::format_duration(time).to_string());
        let said = format!("timeout {}", shown.as_deref().unwrap_or("default"));
        self.say(&json!({ "timeout": shown }), &said)
    }

    fn say(&self, json: &serde_json::Value, text: &str) -> Result<(), Failure> {
        Ok(match self.as_json {
            true => out::line(json),
            false => out::line(text),
        }?)
    }

    /// Reports the failure of a line. JSON goes to standard output, since programs expect one
    /// answer per line.
    pub(super) fn complain(&self, failure: Failure) -> Result<(), Failure> {
        match self.as_json {
            true => out::line(&failure.json)?,
            false => failure.explain(),
        }
        Ok(())
    }

    /// Collects the results of finished commands.
    fn collect(&mut self) {
        while let Some(end) = self.commands.try_join_next() {
            self.well &= end.unwrap_or(false);
        }
    }

    /// Waits for all commands; returns `true` if all succeeded.
    pub(super) async fn finish(&mut self) -> bool {
        while let Some(end) = self.commands.join_next().await {
            self.well &= end.unwrap_or(false);
        }
        self.well
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
        self.say(&json!({ "cancelled": left }), &format!("commands cancelled: {left}"))
    }
}
