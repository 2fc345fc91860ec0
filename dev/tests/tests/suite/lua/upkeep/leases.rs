//! `lease.lua`: a lease on a name has one owner at a time.

use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::LeaseChange::{self, Release, Renew, Take};
use redcall_store::LeaseOps as _;
use redis::AsyncCommands;

use super::super::{LONG, Store, TIMEOUT};

impl Store {
    async fn change(&self, owner: &str, change: LeaseChange, limit: Duration) -> bool {
        let key = Keys::new("redcall").lease("reader");
        self.link.change_lease(&key, owner, (change, limit), TIMEOUT).await.unwrap()
    }

    /// The owner, and whether the lease ends by itself.
    async fn owner(&mut self) -> (Option<String>, bool) {
        let key = Keys::new("redcall").lease("reader");
        let owner = self.conn.get(&key).await.unwrap();
        let left_ms: i64 = self.conn.pttl(&key).await.unwrap();
        (owner, left_ms > 0)
    }
}

#[tokio::test]
async fn one_owner_has_a_lease_until_it_ends() {
    let mut store = Store::new().await;
    assert!(!store.change("a", Renew, LONG).await, "it has no owner");
    assert!(store.change("a", Take, LONG).await);
    assert!(store.change("a", Take, LONG).await, "the reply to the first was lost");
    assert!(!store.change("b", Take, LONG).await);
    assert_eq!(store.owner().await, (Some("a".to_owned()), true));
    assert!(store.change("a", Release, LONG).await);
    assert_eq!(store.owner().await, (None, false));
    assert!(!store.change("a", Release, LONG).await, "it has ended");
    assert!(store.change("b", Take, LONG).await);
}

#[tokio::test]
async fn renewed_lease_lasts_for_its_whole_time_limit() {
    let mut store = Store::new().await;
    assert!(store.change("a", Take, Duration::from_secs(1)).await);
    assert!(store.change("a", Renew, LONG).await);
    let left_ms: u64 = store.conn.pttl(Keys::new("redcall").lease("reader")).await.unwrap();
    assert!(left_ms > 500_000, "{left_ms}");
}

#[tokio::test]
async fn ended_owner_changes_nothing_of_the_next() {
    let mut store = Store::new().await;
    assert!(store.change("a", Take, Duration::from_millis(1)).await);
    let taken = async || store.change("b", Take, LONG).await.then_some(());
    redcall_testkit::eventually("the lease to end", taken).await;
    assert!(!store.change("a", Renew, LONG).await);
    assert!(!store.change("a", Release, LONG).await);
    assert!(!store.change("a", Take, LONG).await);
    assert_eq!(store.owner().await, (Some("b".to_owned()), true));
}
