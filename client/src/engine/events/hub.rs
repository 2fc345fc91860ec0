//! The state of a client for events.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::settings::{EventSettings, Settings};
use redcall_store::{Connection, Connector, TopicRetention};
use tokio::sync::mpsc;

use crate::engine::events::reader::{Command, Reader};

/// The state of a client for events.
pub(crate) struct Events {
    pub(crate) settings: EventSettings,
    /// Ends the reader when the last sender is dropped.
    pub(crate) reader: mpsc::UnboundedSender<Command>,
    pub(crate) timeout: Duration,
}

impl Events {
    /// Spawns the reader, which connects on the first subscription.
    pub(crate) fn new(settings: &Settings, connector: &Connector, link: &Arc<Connection>) -> Self {
        let (reader, commands) = mpsc::unbounded_channel();
        tokio::spawn(Reader::new(connector.clone(), Arc::downgrade(link), commands).run());
        let timeout = settings.redis.response_timeout;
        Self { settings: settings.events.clone(), reader, timeout }
    }

    /// Returns how much of a topic is kept.
    pub(crate) fn kept(&self) -> TopicRetention {
        TopicRetention::from(&self.settings)
    }
}
