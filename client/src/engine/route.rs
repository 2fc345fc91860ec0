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
    /// How many [`HandedIn`] count.
    handed_in: AtomicUsize,
}

/// The route of a request. While it counts, the request is on its way through the sender, and a
/// caller that writes itself would overtake it.
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
}

impl HandedIn {
    pub(crate) fn new(route: Arc<Route>) -> Self {
        let mut handed_in = Self { route, counts: false };
        handed_in.set_counts(true);
        handed_in
    }

    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Returns `true` if this is the only one of its route that counts.
    pub(crate) fn is_alone(&self) -> bool {
        self.counts && self.handed_in.load(Ordering::Acquire) == 1
    }

    /// Sets whether it counts: not while its caller writes it.
    pub(crate) fn set_counts(&mut self, counts: bool) {
        match (std::mem::replace(&mut self.counts, counts), counts) {
            (false, true) => drop(self.route.handed_in.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.route.handed_in.fetch_sub(1, Ordering::AcqRel)),
            (true, true) | (false, false) => {}
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
        self.set_counts(false);
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    #[test]
    fn request_is_alone_unless_another_one_counts() {
        let route = Arc::new(Route::new(Keys::new("redcall").of("q"), String::new(), 0));
        let mut first = HandedIn::new(route.clone());
        assert!(first.is_alone());
        let second = HandedIn::new(route.clone());
        assert!(!first.is_alone() && !second.is_alone());
        first.set_counts(false);
        first.set_counts(false);
        assert!(second.is_alone() && !first.is_alone());
        first.set_counts(true);
        assert!(!second.is_alone());
        drop(second);
        assert!(first.is_alone());
        drop(first);
        assert_eq!(route.handed_in.load(Ordering::Acquire), 0);
    }
}
