//! Heartbeat events for other systems, if the settings enable them.
//!
//! Redcall does not depend on them: workers find each other by the registry
//! (`dispatcher/heartbeats/`).

use std::sync::Arc;

use redcall_common::event::{HEARTBEAT, Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_common::time::now_ms;
use redcall_store::{Connection, SharedOps as _, TopicRetention};
use serde_json::json;

use super::Background;
use crate::identity::Identity;
use crate::time::{REDIS_TIMEOUT, every};

/// Publishes a heartbeat event at once and then at the configured interval. Publishes none without
/// an interval.
pub(crate) fn spawn(
    settings: &Settings,
    identity: &Identity,
    link: &Arc<Connection>,
) -> Option<Background> {
    let period = settings.events.heartbeat?;
    let key = Keys::new(&settings.redis.prefix).events(HEARTBEAT);
    let kept = TopicRetention::from(&settings.events);
    let (identity, link) = (identity.clone(), link.clone());
    Some(Background::spawn("heartbeat events", async move {
        // Missed events are not made up for.
        let mut ticks = every(period);
        loop {
            ticks.tick().await;
            let context = json!({
                "identifier": identity.name,
                "id": identity.id,
                "version": env!("CARGO_PKG_VERSION"),
                "timestamp": now_ms(),
            });
            let context = context.to_string();
            let events = [(key.as_str(), NewEvent::now(Kind::HEARTBEAT, &context))];
            if let Err(error) = link.publish(&events, kept, REDIS_TIMEOUT).await {
                tracing::debug!(%error, "cannot publish the heartbeat event");
            }
        }
    }))
}
