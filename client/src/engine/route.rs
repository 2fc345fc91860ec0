//! A queue that a client has used.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    /// How many requests are on their way through the sender.
    handed_in: AtomicUsize,
}

/// The route of a request. From [`HandedIn::hand_in`] until it is dropped, the request is on its
/// way through the sender, and a caller that writes itself would overtake it.
pub(crate) struct HandedIn {
    route: Arc<Route>,
    counts: bool,
}

impl Route {
    /// Returns the route of a queue that holds at most `cap` requests; 0 for no cap.
    pub(crate) fn new(keys: QueueKeys, notify: String, cap: u64) -> Self {
        let (subscribed, announced) = (OnceCell::new(), OnceCell::new());
        let (room, handed_in) = (Room::new(cap), AtomicUsize::new(0));
        Self { keys: Arc::new(keys), notify, room, subscribed, announced, handed_in }
    }

    /// Returns `true` if nothing is left to prepare before the first request.
    pub(crate) fn is_ready(&self, waits: bool) -> bool {
        self.announced.initialized() && (!waits || self.subscribed.initialized())
    }

    /// Returns `true` if a request is on its way through the sender.
    pub(crate) fn is_handed_in(&self) -> bool {
        self.handed_in.load(Ordering::Acquire) > 0
    }
}

impl HandedIn {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        Self { route, counts: false }
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Notes that the request goes through the sender. Called before the sender can get it.
    pub(crate) fn hand_in(&mut self) {
        if !std::mem::replace(&mut self.counts, true) {
            self.route.handed_in.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Deref for HandedIn {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

impl Drop for HandedIn {
    fn drop(&mut self) {
        if self.counts {
            self.route.handed_in.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    #[test]
    fn request_is_handed_in_until_it_is_dropped() {
        let route = Arc::new(Route::new(Keys::new("redcall").of("q"), String::new(), 0));
        let [mut first, mut second] = [(), ()].map(|()| HandedIn::new(route.clone()));
        assert!(!route.is_handed_in());
        first.hand_in();
        first.hand_in();
        second.hand_in();
        drop(first);
        assert!(route.is_handed_in());
        drop(second);
        assert!(!route.is_handed_in());
    }
}
