//! A queue that a client has used.

use std::sync::Arc;

use redcall_common::keys::QueueKeys;
use tokio::sync::OnceCell;

use crate::engine::room::Room;

/// A queue that a client has used. Created by the first call to it; read by every call.
pub(crate) struct Route {
    pub(crate) keys: Arc<QueueKeys>,
    /// Channel on which the client receives announcements of answers.
    pub(crate) notify: String,
    pub(crate) room: Room,
    pub(crate) subscribed: OnceCell<()>,
    pub(crate) announced: OnceCell<()>,
}

impl Route {
    /// Returns the route of a queue that holds at most `cap` requests; 0 for no cap.
    pub(crate) fn new(keys: QueueKeys, notify: String, cap: u64) -> Self {
        let (subscribed, announced) = (OnceCell::new(), OnceCell::new());
        Self { keys: Arc::new(keys), notify, room: Room::new(cap), subscribed, announced }
    }

    /// Returns `true` if nothing is left to prepare before the first request.
    pub(crate) fn is_ready(&self, waits: bool) -> bool {
        self.announced.initialized() && (!waits || self.subscribed.initialized())
    }
}
