//! Publishing events on topics.

use redcall_common::depth::deeper_than;
use redcall_common::event::{EMERGENCY, EventId, Kind, NewEvent};
use redcall_store::SharedOps as _;
use serde::Serialize;

use crate::engine::client::Client;
use crate::events::error::{EventError, named};

impl Client {
    /// Publishes an event on `topic` (a name, or a number that has a name) with the current time.
    /// An event whose kind is in `events.emergency` is published on the topic `emergency` first.
    /// Returns the id of its entry in the topic.
    ///
    /// ```
    /// # redcall_testkit::example::with_client(async |client| {
    /// use redcall_client::Kind;
    /// use serde_json::json;
    ///
    /// let context = json!({"name": "speed", "value": 3});
    /// let id = client.publish("device.7", Kind::PROPERTY_CHANGE, &context).await?;
    /// println!("published as {id}");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    ///
    /// [`EventError`], within `redis.response_timeout`. After the future is dropped, the event may
    /// be published or not.
    pub async fn publish<T: Serialize + ?Sized>(
        &self,
        topic: &str,
        kind: Kind,
        context: &T,
    ) -> Result<EventId, EventError> {
        let topic = named(topic)?;
        if kind == Kind::ANY {
            return Err(EventError::Kind);
        }
        let context = serde_json::to_string(context).map_err(EventError::Encode)?;
        let most = self.inner.limits.frame;
        if context.len() > most {
            return Err(EventError::TooLarge { size: context.len(), most });
        }
        let most = self.inner.limits.depth;
        if deeper_than(context.as_bytes(), most) {
            return Err(EventError::TooDeep { most });
        }
        let events = &self.inner.events;
        let event = NewEvent::now(kind, &context);
        let key = self.inner.keys.events(topic);
        let emergency = self.inner.keys.events(EMERGENCY);
        let mut all = Vec::with_capacity(2);
        if topic != EMERGENCY && events.settings.emergency.contains(&kind.0) {
            all.push((emergency.as_str(), NewEvent { origin: Some(topic), ..event.clone() }));
        }
        all.push((key.as_str(), event));
        Ok(self.inner.link.publish(&all, events.kept(), events.timeout).await?)
    }
}
