//! Heartbeat events for other systems, if the settings ask for them.
//!
//! Redcall does not depend on them: workers find each other by the registry (`heartbeat.rs`).

use std::sync::Arc;

use redcall_common::event::{HEARTBEAT, Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_common::time::now_ms;
use redcall_store::{Connection, SharedOps as _, TopicRetention};
use serde_json::json;
use tokio::task::JoinSet;

use super::heartbeat::Identity;
use crate::redis_timeout::REDIS_TIMEOUT;
use crate::until::every;

/// Publishes a heartbeat event at once and then at the configured interval, until the returned task
/// is dropped. Publishes none without an interval.
pub(super) fn spawn(
    settings: &Settings,
    identity: &Identity,
    link: &Arc<Connection>,
) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let Some(period) = settings.events.heartbeat else { return task };
    let key = Keys::new(&settings.redis.prefix).events(HEARTBEAT);
    let kept = TopicRetention::from(&settings.events);
    let (identity, link) = (identity.clone(), link.clone());
    task.spawn(async move {
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
    });
    task
}
