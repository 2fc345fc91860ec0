//! `poll.lua`, `poll_fast.lua`, `release.lua`: how much of an inbox one script handles, whatever
//! other programs have pushed there; and blocked pops, whose replies stay small.

use std::sync::Arc;

use redcall_store::{
    BlockingPop, PauseOps as _, PollOps as _, QueuePoll, Released, RequestPop as _, Session as _,
    UpkeepOps as _,
};
use redcall_testkit::eventually;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use crate::lua::{LONG, MIB, Store, TIMEOUT, envelope};
use crate::support::{blocked, carried_out};

/// The maximum number of elements that one script moves from an inbox.
const MOVES: usize = 1000;

/// The state in which a worker leases nothing.
#[derive(Debug, Clone, Copy)]
enum Idle {
    Paused,
    LeaseEnded,
}

impl Store {
    /// Puts elements into the worker's inbox, as any program at Redis may.
    async fn stuff(&mut self, elements: &[String]) {
        let () = self.conn.rpush(self.keys.inbox("own"), elements).await.unwrap();
    }

    /// A poll in a state in which nothing may be leased.
    async fn idle_poll(&mut self, idle: Idle) {
        let own = self.worker("own");
        match idle {
            Idle::Paused => {
                self.lives(&own).await;
                self.link.set_paused(&self.keys, true, TIMEOUT).await.unwrap();
            }
            Idle::LeaseEnded => {
                let () = self.conn.zadd(self.keys.workers(), "own", 1).await.unwrap();
            }
        }
        let poll = QueuePoll { more: self.more, ..QueuePoll::take(&own, 5) };
        let reply = self.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
        assert!(reply.leased.is_empty() && (reply.paused || reply.expired), "{reply:?}");
    }
}

#[tokio::test]
async fn idle_worker_returns_a_full_inbox_in_parts() {
    for (more, idle) in [
        (false, Idle::Paused),
        (true, Idle::Paused),
        (false, Idle::LeaseEnded),
        (true, Idle::LeaseEnded),
    ] {
        let mut store = Store { more, ..Store::new().await };
        let all: Vec<String> = (0..5000).map(|n| envelope(&format!("x{n}"))).collect();
        store.stuff(&all).await;
        let mut moved = 0;
        for polls in 1.. {
            store.idle_poll(idle).await;
            let length = store.queued().await.len();
            // At most two scripts run in a poll.
            assert!(length > moved && length <= moved + 2 * MOVES, "{idle:?}: {length} of {moved}");
            moved = length;
            if moved == all.len() {
                assert!(polls >= 3, "{idle:?}: {polls} polls");
                break;
            }
        }
        assert_eq!(store.queued().await, all, "{idle:?}: in their order");
    }
}

#[tokio::test]
async fn idle_worker_returns_large_elements_of_its_inbox_in_parts() {
    for (more, idle) in [(true, Idle::Paused), (false, Idle::LeaseEnded)] {
        let mut store = Store { more, ..Store::new().await };
        let large = "x".repeat(3 * MIB as usize);
        store.stuff(&vec![large; 8]).await;
        let mut moved = 0;
        while moved < 8 {
            store.idle_poll(idle).await;
            let length = store.queued().await.len();
            // Two elements reach the bound of a script.
            assert!(length > moved && length <= moved + 4, "{idle:?}: {length} after {moved}");
            moved = length;
        }
    }
}

#[tokio::test]
async fn poll_reads_one_element_of_its_inbox_and_reports_the_rest() {
    for more in [false, true] {
        let mut store = Store { more, ..Store::new().await };
        let own = store.worker("own");
        let oversize = "[]".repeat(7 * MIB as usize / 2);
        let last = envelope("last");
        store.stuff(&[oversize.clone(), oversize.clone(), envelope("a"), oversize, last]).await;
        let (mut leased, mut refused) = (Vec::new(), 0);
        for left in (0..5).rev() {
            let reply = store.poll(&own, 0, &[]).await;
            assert!(reply.refused.len() + reply.leased.len() <= 1, "{reply:?}");
            refused += reply.refused.len();
            leased.extend(reply.leased.into_iter().map(|leased| leased.id));
            assert_eq!(reply.length.is_some_and(|length| length > 0), left > 0, "{left} left");
        }
        assert_eq!((leased, refused), (vec!["a".to_owned(), "last".to_owned()], 3));
    }
}

#[tokio::test]
async fn take_over_moves_a_bounded_number_of_elements_per_call() {
    let mut store = Store::new().await;
    let all: Vec<String> = (0..2500).map(|n| envelope(&format!("x{n}"))).collect();
    store.stuff(&all).await;
    let () = store.conn.zadd(store.keys.workers(), "own", 1).await.unwrap();
    let before = carried_out(&mut store.conn, "evalsha").await;
    let released = store.link.release(&store.keys, "own", false, TIMEOUT).await.unwrap();
    assert_eq!(released, Released::Back(2500));
    assert_eq!(carried_out(&mut store.conn, "evalsha").await - before, 3);
    assert_eq!(store.queued().await, all);
}

/// The bytes that Redis has sent so far.
async fn sent(conn: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(conn).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    line.unwrap().trim().parse().unwrap()
}

/// Sets or removes the right of all users to suppress replies.
async fn may_suppress_replies(conn: &mut MultiplexedConnection, may: bool) {
    let rule = if may { "+client|reply" } else { "-client|reply" };
    let acl = redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned();
    let () = acl.query_async(conn).await.unwrap();
}

#[tokio::test]
async fn pop_that_must_not_suppress_replies_receives_no_large_element() {
    let mut store = Store::new().await;
    let own = Arc::new(store.worker("own"));
    store.lives(&own).await;
    let mut pop = BlockingPop::new(store.connector.clone(), own);
    may_suppress_replies(&mut store.conn, false).await;
    let refused = pop.next(TIMEOUT, &[], false).await.unwrap_err();
    assert!(refused.is_refused(), "{refused}");
    pop.renew().await.unwrap();
    let (before, mut conn) = (sent(&mut store.conn).await, store.conn.clone());
    // It comes while the pop waits.
    let arrival = async {
        let polls = carried_out(&mut conn, "evalsha").await;
        eventually("the pop to wait", async || {
            let waits = blocked(&mut conn).await == 1;
            (waits || carried_out(&mut conn, "evalsha").await > polls).then_some(())
        })
        .await;
        let () = conn.rpush(store.keys.queue(), "[]".repeat(9 * MIB as usize / 2)).await.unwrap();
    };
    // A pop ends without an element after a while.
    let popping = async {
        loop {
            let reply = pop.next(TIMEOUT, &[], false).await.unwrap();
            if reply.read > 0 {
                return reply;
            }
        }
    };
    let (reply, ()) = tokio::join!(popping, arrival);
    assert_eq!((reply.leased.len(), reply.refused), (0, vec!["too_large".to_owned()]));
    let after = sent(&mut store.conn).await;
    assert!(after - before < MIB, "{} bytes", after - before);
    store.push_ids(&["a"]).await;
    assert_eq!(pop.next(TIMEOUT, &[], false).await.unwrap().leased[0].id, "a");
    // An empty queue: it ends by itself.
    assert!(pop.next(LONG, &[], false).await.unwrap().leased.is_empty());
}

#[tokio::test]
async fn pop_after_an_early_end_receives_no_large_element() {
    let mut store = Store::new().await;
    let own = Arc::new(store.worker("own"));
    store.lives(&own).await;
    let mut pop = BlockingPop::new(store.connector.clone(), own);
    let (unblocker, mut conn) = (pop.unblocker(), store.conn.clone());
    let stopping = async {
        eventually("the pop to block", async || (blocked(&mut conn).await == 1).then_some(()))
            .await;
        store.link.unblock(&unblocker, TIMEOUT).await.unwrap();
    };
    let (reply, ()) = tokio::join!(pop.next(LONG, &[], false), stopping);
    assert!(reply.unwrap().leased.is_empty());
    let before = sent(&mut store.conn).await;
    store.push(&["[]".repeat(9 * MIB as usize / 2)]).await;
    let reply = pop.next(TIMEOUT, &[], false).await.unwrap();
    assert_eq!((reply.leased.len(), reply.refused), (0, vec!["too_large".to_owned()]));
    let after = sent(&mut store.conn).await;
    assert!(after - before < MIB, "{} bytes", after - before);
}
