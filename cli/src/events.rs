//! `redcall events tail | publish`.

use std::time::SystemTime;

use clap::{Args, Subcommand};
use redcall_client::{Client, Event, EventError, EventItem, EventStream, Kind, StoreError};
use redcall_common::clean::clean;
use redcall_common::event::topic;
use redcall_common::output as out;
use redcall_common::report::Problem;
use serde_json::value::RawValue;

use crate::output::{moment, one_line};
use crate::{Failure, call, json, unreachable};

/// What to do with events.
#[derive(Subcommand)]
pub(crate) enum Events {
    /// Print the events of a topic as they come, one per line
    Tail(Tail),
    /// Publish an event
    Publish(Publish),
}

/// Which to print.
#[derive(Args)]
pub(crate) struct Tail {
    /// The topic: a name, or a number such as 4001 (`event`)
    #[arg(value_parser = named)]
    topic: String,
    /// Begin with those published then or later: 2026-01-31T18:00:00Z, or 10m for so long ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// Only those of this kind, a name or a number; may be repeated
    #[arg(long)]
    kind: Vec<Kind>,
    /// End after N events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// What to publish.
#[derive(Args)]
pub(crate) struct Publish {
    /// The topic: a name, or a number such as 4001 (`event`)
    #[arg(value_parser = named)]
    topic: String,
    /// The kind: a number, or heartbeat, emergency, event, property_change, command_result
    kind: Kind,
    /// What it says, JSON
    #[arg(default_value = "null", value_parser = context, allow_negative_numbers = true)]
    context: Box<RawValue>,
}

pub(crate) fn named(text: &str) -> Result<String, String> {
    let name = topic(text).map(str::to_owned);
    name.ok_or_else(|| "a topic has 1 to 64 of [A-Za-z0-9_.-], and is not `any`".to_owned())
}

fn context(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("{error}; quote it for the shell, such as '{{\"a\": 1}}' or '\"text\"'")
    })
}

fn since(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(ago) => SystemTime::now().checked_sub(ago).ok_or_else(|| "that is too long ago".into()),
        Err(_) => call::time(text),
    }
}

impl Events {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        match self {
            Self::Tail(tail) => tail.run(client, as_json).await,
            Self::Publish(publish) => publish.run(client, as_json).await,
        }
    }
}

impl Tail {
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let mut tailing = self.begin(client).await?;
        while let Some(item) =
            call::unless_closed(async { tailing.next().await.transpose() }).await?
        {
            let line = if as_json { json_line(&item) } else { line(&item) };
            out::line(line)?;
        }
        Ok(())
    }

    /// The topic's name.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Begins to follow.
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

/// A topic that is followed.
pub(crate) struct Tailing {
    events: EventStream,
    /// How many events are still wanted.
    left: u64,
}

impl Tailing {
    /// What comes next; `None` after an error or the last that was wanted.
    pub(crate) async fn next(&mut self) -> Option<Result<EventItem, Failure>> {
        if self.left == 0 {
            return None;
        }
        let item = self.events.next().await?;
        self.left -= u64::from(matches!(item, Ok(EventItem::Event(_))));
        Some(item.map_err(|error| unreachable(&error)))
    }
}

pub(crate) fn json_line(item: &EventItem) -> String {
    match item {
        // Strings, numbers and JSON that is text already: nothing here can fail.
        EventItem::Event(event) => {
            // Its context may be over several lines, as its publisher wrote it.
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
        EventItem::Missed(Some(count)) => format!("-- {count} events before this were let go --"),
        EventItem::Missed(None) => "-- events before this may have been let go --".to_owned(),
    }
}

impl Publish {
    /// The topic's name.
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
    let mut failure = unreachable(store);
    failure.json["error"]["may_be_published"] = StoreError::may_have_happened(store).into();
    failure
}
