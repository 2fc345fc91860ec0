//! The one task that reads for all subscribers, over one blocking connection.
//!
//! Subscribers at the end of a topic share one cursor. A lagging subscriber (started in the past,
//! or too slow) has a cursor of its own until it reaches the end. So no subscriber waits for
//! another, and a hundred of them cost one read.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redcall_common::backoff::Backoff;
use redcall_common::event::{Event, EventId};
use redcall_store::{
    Connection, Connector, EventWatch, Session as _, StoreError, TopicRead, TopicWatch as _,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::cursor::Cursor;
use super::subscriber::{Missed, Subscriber};

/// Maximum time of one blocking read. Then all topics are read: a restarted one may have entries
/// that a blocking read does not see.
const BLOCK_MAX: Duration = Duration::from_secs(5);
/// Maximum number of events per read: less than half of a subscriber's queue.
const BATCH_MAX: usize = 256;
/// Pauses after failed reads.
const READ_RETRY: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// Pause before a blocking read is ended once more, in case it had not started.
const UNBLOCK_PAUSE: Duration = Duration::from_millis(10);
const UNBLOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// A command to the reader.
pub(crate) enum Command {
    /// Add a subscriber to the stream `key`, starting at `cursor`.
    Subscribe { key: String, cursor: Cursor, subscriber: Subscriber },
    /// A full subscriber has room, or one was dropped.
    Wake,
}

impl Command {
    /// Returns the new subscriber, which starts as lagging.
    fn into_lagging(self) -> Option<Lagging> {
        match self {
            Self::Subscribe { key, cursor, subscriber } => {
                Some(Lagging { key, cursor, subscriber })
            }
            Self::Wake => None,
        }
    }
}

pub(crate) struct Reader {
    watch: EventWatch,
    /// Ends a blocking read.
    link: Weak<Connection>,
    commands: mpsc::UnboundedReceiver<Command>,
    topics: BTreeMap<String, Topic>,
    lagging: Vec<Lagging>,
}

/// A topic and the subscribers at its end.
struct Topic {
    cursor: Cursor,
    subscribers: Vec<Subscriber>,
    /// `true` if there may be entries after the cursor.
    has_news: bool,
    /// `true` if no loss can be unseen since the last read at the end.
    watched: bool,
}

/// A subscriber that has not reached the end.
struct Lagging {
    key: String,
    cursor: Cursor,
    subscriber: Subscriber,
}

impl Reader {
    pub(crate) fn new(
        connector: Connector,
        link: Weak<Connection>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let (topics, lagging) = (BTreeMap::new(), Vec::new());
        Self { watch: EventWatch::new(connector), link, commands, topics, lagging }
    }

    /// Runs until the client and all subscribers are dropped.
    pub(crate) async fn run(mut self) {
        let mut pause = READ_RETRY.first();
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.lagging.extend(command.into_lagging());
            }
            self.forget();
            let done = match self.read().await {
                Ok(true) => Ok(true),
                Ok(false) => self.wait().await,
                Err(error) => Err(error),
            };
            match done {
                Ok(true) => pause = READ_RETRY.first(),
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%error, "retrying read of events");
                    sleep(pause).await;
                    pause = READ_RETRY.following(pause);
                }
            }
        }
    }

    /// Removes dropped subscribers.
    fn forget(&mut self) {
        self.lagging.retain(|lagging| !lagging.subscriber.is_gone());
        self.topics.retain(|_, topic| {
            topic.subscribers.retain(|subscriber| !subscriber.is_gone());
            !topic.subscribers.is_empty()
        });
    }

    /// Reads once wherever there may be entries; returns `true` if there may be more.
    async fn read(&mut self) -> Result<bool, StoreError> {
        if !self.watch.stands() {
            for topic in self.topics.values_mut() {
                (topic.has_news, topic.watched) = (true, false);
            }
        }
        let mut more = false;
        let mut failed = None;
        for lagging in take(&mut self.lagging) {
            if failed.is_some() || !lagging.subscriber.has_room() {
                self.lagging.push(lagging);
                continue;
            }
            match self.watch.read_topic(&lagging.key, lagging.cursor.at, BATCH_MAX).await {
                Ok(page) => more |= self.catch_up(lagging, page),
                Err(error) if error.is_of_the_key() => lagging.subscriber.fail(error),
                Err(error) => {
                    failed = Some(error);
                    self.lagging.push(lagging);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let news = self.topics.iter().filter(|(_, topic)| topic.has_news);
        let news: Vec<(String, EventId)> =
            news.map(|(key, topic)| (key.clone(), topic.cursor.at)).collect();
        for (key, at) in news {
            match self.watch.read_topic(&key, at, BATCH_MAX).await {
                Ok(page) => more |= self.deliver(&key, page),
                Err(error) if error.is_of_the_key() => {
                    let subscribers = self.topics.remove(&key).into_iter();
                    for subscriber in subscribers.flat_map(|topic| topic.subscribers) {
                        subscriber.fail(error.clone());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(more)
    }

    /// Sends events to a lagging subscriber; returns `true` if there are more.
    fn catch_up(&mut self, mut lagging: Lagging, page: TopicRead) -> bool {
        let missed = lagging.cursor.advance(&page, false);
        // There is room, as checked before.
        missed.map(|missed| lagging.subscriber.send_missed(missed));
        let (end, is_whole) = (Cursor::at_end(&page), page.whole && lagging.cursor.at >= page.top);
        for (id, event) in share_events(&lagging.key, page) {
            lagging.subscriber.send_event(id, event.as_ref());
        }
        if !is_whole {
            self.lagging.push(lagging);
            return true;
        }
        lagging.subscriber.after = lagging.subscriber.after.max(end.at);
        let topic = self.topics.entry(lagging.key).or_insert_with(|| Topic {
            cursor: end,
            subscribers: Vec::new(),
            has_news: false,
            watched: true,
        });
        topic.subscribers.push(lagging.subscriber);
        false
    }

    /// Sends events to the subscribers at the end of a topic; returns `true` if there are more.
    fn deliver(&mut self, key: &str, page: TopicRead) -> bool {
        let Some(topic) = self.topics.get_mut(key) else { return false };
        let before = topic.cursor;
        let missed = topic.cursor.advance(&page, topic.watched);
        let is_whole = page.whole && topic.cursor.at >= page.top;
        (topic.has_news, topic.watched) = (!is_whole, is_whole);
        let end = topic.cursor;
        let events = share_events(key, page);
        for mut subscriber in take(&mut topic.subscribers) {
            let has_room = missed.is_none_or(|missed| {
                // A later subscriber has read some of it.
                let all = subscriber.after <= before.at;
                subscriber.send_missed(if all { missed } else { Missed(None) })
            });
            let mut unread = if has_room { None } else { Some(before) };
            if has_room {
                let full =
                    |(id, event): &(_, Option<_>)| !subscriber.send_event(*id, event.as_ref());
                unread = events.iter().position(full).map(|first| {
                    let last = first.checked_sub(1).map_or(before.at, |last| events[last].0);
                    end.back(events.len() - first, last)
                });
            }
            match unread {
                None => topic.subscribers.push(subscriber),
                Some(cursor) => {
                    self.lagging.push(Lagging { key: key.to_owned(), cursor, subscriber });
                }
            }
        }
        !is_whole
    }

    /// Waits for work; returns `false` when there is none left.
    async fn wait(&mut self) -> Result<bool, StoreError> {
        let topics = self.topics.iter();
        let cursors: Vec<_> = topics.map(|(key, topic)| (key.clone(), topic.cursor.at)).collect();
        if cursors.is_empty() {
            if self.lagging.is_empty() {
                self.watch.close();
            }
            let command = self.commands.recv().await;
            let is_wanted = command.is_some();
            self.lagging.extend(command.and_then(Command::into_lagging));
            return Ok(is_wanted);
        }
        let unblocker = self.watch.unblocker();
        let waiting = self.watch.wait(&cursors, BLOCK_MAX);
        tokio::pin!(waiting);
        let (waited, command) = tokio::select! {
            waited = &mut waiting => (waited, None),
            command = self.commands.recv() => {
                let (Some(command), Some(link)) = (command, self.link.upgrade()) else {
                    return Ok(false);
                };
                let unblocking = async {
                    loop {
                        // A blocking read that has not started cannot be ended.
                        let _ = link.unblock(&unblocker, UNBLOCK_TIMEOUT).await;
                        sleep(UNBLOCK_PAUSE).await;
                    }
                };
                tokio::select! {
                    waited = &mut waiting => (waited, Some(command)),
                    () = unblocking => return Ok(false),
                }
            }
        };
        self.lagging.extend(command.and_then(Command::into_lagging));
        let news = waited?;
        for (key, topic) in &mut self.topics {
            topic.has_news |= news.is_empty() || news.contains(key);
        }
        Ok(true)
    }
}

/// Returns the events of a page, shared by all subscribers.
fn share_events(key: &str, page: TopicRead) -> Vec<(EventId, Option<Arc<Event>>)> {
    let share = |(id, event): (EventId, Option<Event>)| {
        if event.is_none() {
            tracing::warn!(key, %id, "ignored an entry that is not an event");
        }
        (id, event.map(Arc::new))
    };
    page.entries.into_iter().map(share).collect()
}
