//! Publishing: Redcall's events to the subscribers of our PUB sockets.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the events of Redcall, in order, as messages |
//! | `hub.rs` | the subscribers and their queues |
//! | `subscriber.rs` | one connection of a subscriber |
//! | `heartbeat.rs` | heartbeats while workers serve the door's queue |

mod heartbeat;
mod hub;
mod subscriber;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redcall_client::{Event, EventItem, EventStream, Kind};
use redcall_common::event::{COMMAND_RESULT, EMERGENCY, HEARTBEAT, topic};
use redcall_common::settings::{ZmtpDialect, ZmtpSettings};
use tokio::time::sleep;

use self::hub::Hub;
use super::event::{self, EMERGENCIES};
use super::json::members;
use super::names::Names;
use super::pairs::{Pairs, Side};
use crate::door::{Door, Listener};

/// Pause after a failed subscription.
const PAUSE: Duration = Duration::from_secs(1);

/// The topics of all doors. A topic has the number of the kind of its name.
const TOPICS: [Kind; 5] =
    [Kind::HEARTBEAT, Kind::EMERGENCY, Kind::EVENT, Kind::PROPERTY_CHANGE, Kind::COMMAND_RESULT];

/// Publishes until the door drains.
pub(super) async fn serve(
    door: Arc<Door>,
    names: Arc<Names>,
    settings: &ZmtpSettings,
    listeners: Vec<Listener>,
) {
    if listeners.is_empty() {
        return;
    }
    let (hub, pairs) = (Hub::new(), Mutex::default());
    let publisher = Publisher { door: &door, hub, names: &names, settings, pairs };
    let mut topics: Vec<u32> =
        TOPICS.map(|kind| kind.0).into_iter().chain(settings.topics.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    let publishing = async {
        // Before the first connection is accepted: a subscriber misses no event.
        let subscribing = topics.iter().map(|number| publisher.subscribe(*number));
        let streams = join_all(subscribing).await;
        let following = topics.iter().zip(streams);
        let following = following.map(|(number, events)| publisher.follow(*number, events));
        let accepting = listeners.into_iter().map(|listener| {
            let (door, hub) = (door.clone(), publisher.hub.clone());
            let serve = move |connection| subscriber::serve(door.clone(), hub.clone(), connection);
            listener.serve(publisher.door.clone(), serve)
        });
        let beating = heartbeat::run(&publisher);
        tokio::join!(join_all(following), join_all(accepting), beating);
    };
    // The tasks of the connections end by themselves when the door drains.
    tokio::select! {
        () = publishing => {}
        () = door.draining() => {}
    }
}

/// The state that the tasks of one door share.
struct Publisher<'a> {
    door: &'a Arc<Door>,
    hub: Arc<Hub>,
    names: &'a Names,
    settings: &'a ZmtpSettings,
    /// Of emergencies that were relayed from a device.
    pairs: Mutex<Pairs>,
}

impl Publisher<'_> {
    /// Sends a body on the topic `number` to all that have subscribed to it.
    fn send(&self, number: u32, body: String) {
        let body = event::in_dialect(body, self.settings.dialect);
        let dropped = self.hub.send(number, body.as_bytes());
        if dropped > 0 {
            self.door.metrics().dropped(dropped);
        }
    }

    /// Subscribes to the topic `number` of Redcall; tries again until it succeeds.
    async fn subscribe(&self, number: u32) -> Option<EventStream> {
        let number = number.to_string();
        let name = topic(&number)?;
        loop {
            match self.door.client().events(name).subscribe().await {
                Ok(events) => return Some(events),
                Err(error) => {
                    let gateway = self.door.name();
                    tracing::warn!(gateway, topic = name, %error, "cannot subscribe; retrying");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Publishes the events of one topic. Never ends, if there is such a topic.
    async fn follow(&self, number: u32, mut events: Option<EventStream>) {
        while let Some(stream) = &mut events {
            while let Some(item) = stream.next().await {
                match item {
                    Ok(EventItem::Event(event)) => self.publish(number, &event),
                    Ok(EventItem::Missed(missed)) => {
                        let gateway = self.door.name();
                        tracing::warn!(gateway, topic = number, missed, "missed events");
                        self.door.metrics().dropped(missed.unwrap_or(1));
                    }
                    Err(error) => {
                        tracing::warn!(gateway = self.door.name(), %error, "events have ended");
                    }
                }
            }
            sleep(PAUSE).await;
            events = self.subscribe(number).await;
        }
    }

    fn publish(&self, number: u32, event: &Event) {
        let name = number.to_string();
        let body = match topic(&name) {
            // Those of our own workers: the door's heartbeats stand for them.
            Some(HEARTBEAT) if is_of_worker(event) => return,
            Some(HEARTBEAT) => Some(event.context.get().to_owned()),
            Some(COMMAND_RESULT) => event::command_result(&event.context, self.names),
            // Its original is published with a copy, below.
            Some(EMERGENCY)
                if event.origin.as_deref() == Some("event")
                    && EMERGENCIES.contains(&event.kind) =>
            {
                return;
            }
            _ => Some(event::body(event)),
        };
        let Some(body) = body else { return self.door.metrics().dropped(1) };
        if EMERGENCIES.contains(&event.kind) {
            if number == Kind::EVENT.0 && self.is_first(Side::Event, &body) {
                self.send(Kind::EMERGENCY.0, body.clone());
            } else if number == Kind::EMERGENCY.0 && !self.is_first(Side::Emergency, &body) {
                return;
            }
        }
        self.send(number, body);
    }

    /// Returns `true` for the first of the two messages of an emergency: a relayed one is an event
    /// of its own on either topic, and the topics have no order among each other.
    fn is_first(&self, side: Side, body: &str) -> bool {
        let other = match side {
            Side::Emergency => Side::Event,
            Side::Event => Side::Emergency,
        };
        // No code panics while it holds the lock.
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !pairs.take(other, body);
        if is_first {
            pairs.add(side, body);
        }
        is_first
    }

    /// Returns the version of the package whose dialect the door speaks, for heartbeats.
    fn version(&self) -> &'static str {
        match self.settings.dialect {
            ZmtpDialect::V0_9 => "0.9.7",
            ZmtpDialect::V0_12 => "0.12.0",
        }
    }
}

/// Returns `true` for a heartbeat of a Redcall worker: it alone has an id.
fn is_of_worker(event: &Event) -> bool {
    members(event.context.get(), ["id"]).is_some_and(|[id]| id.is_some())
}
