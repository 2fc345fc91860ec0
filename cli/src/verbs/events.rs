//! `redcall events tail | publish`.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use redcall_client::{Client, Event, EventError, EventItem, EventStream, Kind, StoreError};
use redcall_common::clean::clean;
use redcall_common::event::topic;
use redcall_common::output as out;
use redcall_common::report::Problem;
use redcall_common::signals::unless_closed;
use serde_json::value::RawValue;

use crate::output::{moment, one_line};
use crate::verb::ClientVerb;
use crate::verbs::calls::call;
use redcall_common::failure::{Failure, json};

/// Verbs for events.
#[derive(Subcommand)]
pub(crate) enum Events {
    /// Print the events of a topic as they arrive, one per line
    Tail(Tail),
    /// Publish an event
    Publish(Publish),
}

/// The events to print.
#[derive(Args)]
pub(crate) struct Tail {
    /// Topic: a name, or a number such as 4001 (`event`)
    #[arg(value_parser = named)]
    topic: String,
    /// Start with events published at this time, 2026-01-31T18:00:00Z, or this long ago, 10m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// Print events of this kind only, a name or a number; may be repeated
    #[arg(long)]
    kind: Vec<Kind>,
    /// End after N events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// The event to publish.
#[derive(Args)]
pub(crate) struct Publish {
    /// Topic: a name, or a number such as 4001 (`event`)
    #[arg(value_parser = named)]
    topic: String,
    /// Kind: a number, or heartbeat, emergency, event, property_change, command_result
    kind: Kind,
    /// Context of the event as JSON
    #[arg(default_value = "null", value_parser = context, allow_negative_numbers = true)]
    context: Box<RawValue>,
}

pub(crate) fn named(text: &str) -> Result<String, String> {
    let name = topic(text).map(str::to_owned);
    name.ok_or_else(|| "expected a topic: 1 to 64 of [A-Za-z0-9_.-], and not `any`".to_owned())
}

fn context(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("{error}; quote it for the shell, such as '{{\"a\": 1}}' or '\"text\"'")
    })
}

fn since(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(ago) => {
            SystemTime::now().checked_sub(ago).ok_or_else(|| "the time is out of range".into())
        }
        Err(_) => call::time(text),
    }
}

impl ClientVerb for Events {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::Tail(tail) => tail.run(client, as_json).await,
            Self::Publish(publish) => publish.run(client, as_json).await,
        }
    }
}

impl Tail {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let mut tailing = self.begin(client).await?;
        while let Some(item) = unless_closed(async { tailing.next().await.transpose() }).await? {
            let line = if as_json { json_line(&item) } else { line(&item) };
            out::line(line)?;
        }
        Ok(())
    }

    /// Returns the topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Subscribes.
    pub(crate) async fn begin(self, client: &Client) -> Result<Tailing, Failure> {
        let mut follow = client.events(&self.topic);
        if let Some(time) = self.since {
            follow = follow.since(time);
        }
        for kind in self.kind {
            follow = follow.kind(kind);
        }
        let events = follow.subscribe().await.map_err(|error| failed(&error))?;
        Ok(Tailing { events, left: self.limit.unwrap_or(u64::MAX) })
    }
}

/// A subscribed topic.
pub(crate) struct Tailing {
    events: EventStream,
    /// Number of events still to be printed.
    left: u64,
}

impl Tailing {
    /// Waits for the next item; `None` after an error or the last wanted event.
    pub(crate) async fn next(&mut self) -> Option<Result<EventItem, Failure>> {
        if self.left == 0 {
            return None;
        }
        let item = self.events.next().await?;
        self.left -= u64::from(matches!(item, Ok(EventItem::Event(_))));
        Some(item.map_err(|error| Failure::from(&error)))
    }
}

pub(crate) fn json_line(item: &EventItem) -> String {
    match item {
        // Strings, numbers and JSON text: cannot fail.
        EventItem::Event(event) => {
            // The publisher may have formatted the context over several lines.
            one_line(&serde_json::to_string(&**event).unwrap_or_default())
        }
        EventItem::Missed(count) => serde_json::json!({ "missed": count }).to_string(),
    }
}

pub(crate) fn line(item: &EventItem) -> String {
    match item {
        EventItem::Event(event) => {
            let Event { kind, when, context, .. } = &**event;
            format!("{}  {kind}  {}", moment(*when), clean(&one_line(context.get())))
        }
        EventItem::Missed(Some(count)) => format!("-- {count} earlier events missed --"),
        EventItem::Missed(None) => "-- earlier events may have been missed --".to_owned(),
    }
}

impl Publish {
    /// Returns the topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let published = client.publish(&self.topic, self.kind, &self.context).await;
        let id = published.map_err(|error| failed(&error))?;
        let text = match as_json {
            true => serde_json::json!({ "topic": self.topic, "id": id }).to_string(),
            false => format!("published {id} on {}", self.topic),
        };
        let done = || format!("The event {id} is published on {}.", self.topic);
        Ok(out::line(text).map_err(|error| error.after(done()))?)
    }
}

fn failed(error: &EventError) -> Failure {
    let EventError::Store(store) = error else {
        let code = error.code().as_str();
        return Failure {
            problems: vec![Problem::of(error)],
            code: 2,
            json: json(code, &error.to_string()),
        };
    };
    let mut failure = Failure::from(store);
    failure.json["error"]["may_be_published"] = StoreError::may_have_happened(store).into();
    failure
}
