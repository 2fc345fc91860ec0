//! Publishing the results of device commands.

use std::time::Duration;

use redcall_common::error::{Code, WireError};
use redcall_common::event::{COMMAND_RESULT, Kind, NewEvent};
use redcall_common::keys::Keys;
use redcall_common::limits::Limits;
use redcall_common::result_kind::command_result;
use redcall_store::{Connection, EndedDeferred, SharedOps as _, TopicRetention};
use serde_json::value::RawValue;

/// Publishes results of device commands as events.
#[derive(Clone)]
pub(crate) struct ResultEvents {
    key: String,
    kept: TopicRetention,
    max_bytes: usize,
}

impl ResultEvents {
    pub(crate) fn new(keys: &Keys, kept: TopicRetention, limits: &Limits) -> Self {
        Self { key: keys.events(COMMAND_RESULT), kept, max_bytes: limits.frame }
    }

    /// The frame is authoritative: a failure is only logged.
    pub(crate) async fn publish(
        &self,
        link: &Connection,
        ended: &EndedDeferred,
        result: Result<&RawValue, &WireError>,
        timeout: Duration,
    ) {
        let EndedDeferred { id, name, nonce } = ended;
        let context = command_result((id, name, nonce.as_deref()), result, self.max_bytes);
        let event = NewEvent::now(Kind::COMMAND_RESULT, &context);
        if let Err(error) = link.publish(&[(&*self.key, event)], self.kept, timeout).await {
            tracing::warn!(%error, id, "event of a command's result not published");
        }
    }

    /// Publishes `cancelled` for the requests of `ended`.
    pub(crate) async fn publish_cancelled(
        &self,
        link: &Connection,
        ended: &[EndedDeferred],
        timeout: Duration,
    ) {
        let error = WireError::new(Code::Cancelled, "the call was cancelled");
        for ended in ended {
            self.publish(link, ended, Err(&error), timeout).await;
        }
    }
}
