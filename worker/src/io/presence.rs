//! Saying to others that this worker lives: an event now and then, if the settings ask for it.
//!
//! Nothing of Redcall depends on it. What workers need to know of each other is in the registry
//! (`heartbeat.rs`).

use std::sync::Arc;

use redcall_common::event::{HEARTBEAT, Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::settings::Settings;
use redcall_common::time::now_ms;
use redcall_store::{Kept, Link};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::WITHIN;
use super::heartbeat::Identity;

/// Publishes a heartbeat at once and then as often as the settings say, until what is returned is
/// dropped; none if they say nothing.
pub(super) fn spawn(settings: &Settings, identity: &Identity, link: &Arc<Link>) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let Some(every) = settings.events.heartbeat else { return task };
    let key = Keys::new(&settings.redis.prefix).events(HEARTBEAT);
    let kept = Kept::from(&settings.events);
    let (identity, link) = (identity.clone(), link.clone());
    task.spawn(async move {
        let mut ticks = interval(every);
        // What could not be said in time is not made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
            if let Err(error) = link.publish(&events, kept, WITHIN).await {
                tracing::debug!(%error, "the heartbeat could not be published");
            }
        }
    });
    task
}
