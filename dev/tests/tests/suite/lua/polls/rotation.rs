//! `rotation.lua`: each key of a limited name that has partitioned requests is in one place, after
//! any change of its keys.

use redcall_common::settings::{Limit, Rate};
use redcall_store::{
    Fault, LimitFault, LimitRule, Outcome, PollOps as _, QueuePoll, Session as _, Settlement,
    UpkeepOps as _, WorkerKeys,
};
use redis::AsyncCommands;

use crate::lua::{LONG, Store, TIMEOUT, outcome};

/// Orders are limited to one at once for each customer.
fn rules() -> [LimitRule; 1] {
    let limit = Limit { key: Some("customer".into()), concurrency: Some(1), rate: None };
    [LimitRule { name: "order".to_owned(), limit, room: None }]
}

fn order(customer: &str, n: usize) -> String {
    format!(r#"{{"id":"{customer}-{n}","name":"order","data":{{"customer":"{customer}"}}}}"#)
}

/// A store in which three orders of each customer are partitioned, and the first one runs.
async fn busy(customers: &[&str]) -> (Store, WorkerKeys) {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let orders: Vec<String> =
        (1..=3).flat_map(|n| customers.iter().map(move |customer| order(customer, n))).collect();
    store.push(&orders).await;
    let first = leased(&store, &own, &[]).await;
    assert_eq!(first.len(), customers.len(), "{first:?}");
    (store, own)
}

/// Returns the leases of one poll that settles `ended`.
async fn leased(store: &Store, own: &WorkerKeys, ended: &[String]) -> Vec<String> {
    store.lives(own).await;
    let (rules, mut all) = (rules(), Vec::new());
    let outcomes: Vec<Outcome> = ended.iter().map(|id| outcome(id, Settlement::Done)).collect();
    // The second one leases the requests that the first one has made ready.
    for outcomes in [&outcomes[..], &[]] {
        let poll = QueuePoll { rules: &rules, outcomes, more: true, ..QueuePoll::take(own, 50) };
        let reply = store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
        all.extend(reply.leased.into_iter().map(|leased| leased.id));
    }
    all.sort_unstable();
    all
}

/// Returns the repaired keys, sorted.
async fn repaired(store: &Store) -> Vec<(String, Fault)> {
    let faults = store.link.repair_limits(&store.keys, &rules(), TIMEOUT).await.unwrap();
    let mut faults: Vec<_> =
        faults.into_iter().map(|LimitFault { key, fault, .. }| (key, fault)).collect();
    faults.sort_unstable();
    faults
}

/// All orders run, one at a time for each customer, and nothing of them is left.
async fn all_run(store: &mut Store, own: &WorkerKeys, customers: &[&str]) {
    for n in 1..=3 {
        let ids = |n: usize| customers.iter().map(|of| format!("{of}-{n}")).collect::<Vec<_>>();
        let next = if n < 3 { ids(n + 1) } else { Vec::new() };
        assert_eq!(leased(store, own, &ids(n)).await, next);
    }
    let mut left = store.all_keys().await;
    left.retain(|key| *key != store.keys.workers());
    assert_eq!(left, [""; 0]);
}

fn key(store: &Store, what: &str) -> String {
    format!("{}:{what}", store.keys.base())
}

#[tokio::test]
async fn sound_rotation_is_left_alone() {
    let (mut store, own) = busy(&["a", "b"]).await;
    assert_eq!(repaired(&store).await, []);
    // The customers with running orders are held once it is their turn.
    assert_eq!(leased(&store, &own, &[]).await, [""; 0]);
    assert_eq!(repaired(&store).await, []);
    all_run(&mut store, &own, &["a", "b"]).await;
    assert_eq!(repaired(&store).await, []);
}

#[tokio::test]
async fn key_in_no_place_returns_to_the_rotation() {
    for place in ["rotation:order", "held:order"] {
        let (mut store, own) = busy(&["a", "b"]).await;
        let () = store.conn.del(key(&store, place)).await.unwrap();
        let lost = repaired(&store).await;
        // Both are held by then.
        let expected = ["a", "b"].map(|key| (key.to_owned(), Fault::Lost));
        let expected = if place == "held:order" { &expected[..] } else { &[] };
        assert_eq!(lost, expected, "{place}");
        assert_eq!(repaired(&store).await, [], "{place}");
        all_run(&mut store, &own, &["a", "b"]).await;
    }
    // The same in the rotation.
    let (mut store, own) = busy(&["a"]).await;
    let [order] = ["a-1".to_owned()];
    let ended = [outcome(&order, Settlement::Done)];
    let settle = QueuePoll { outcomes: &ended, more: true, ..QueuePoll::take(&own, 0) };
    store.link.poll(&[settle], TIMEOUT).await.unwrap().remove(0).unwrap();
    let () = store.conn.del(key(&store, "rotation:order")).await.unwrap();
    assert_eq!(leased(&store, &own, &[]).await, [""; 0]);
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Lost)]);
    assert_eq!(leased(&store, &own, &[]).await, ["a-2"]);
}

#[tokio::test]
async fn workers_are_notified_of_a_free_limit_key() {
    let (mut store, _) = busy(&["a"]).await;
    store.link.subscribe(&store.keys.control(), TIMEOUT).await.unwrap();
    let () = store.conn.del(key(&store, "held:order")).await.unwrap();
    assert_eq!(repaired(&store).await.len(), 1);
    assert_eq!(store.received().await, ["work"]);
}

#[tokio::test]
async fn key_that_is_in_several_places_is_in_one_again() {
    let (mut store, own) = busy(&["a", "b"]).await;
    let rotation = key(&store, "rotation:order");
    let () = store.conn.rpush(&rotation, &["a", "a", "b"]).await.unwrap();
    let () = store.conn.zadd(store.keys.throttled(), "order a", 1).await.unwrap();
    let twice = ["a", "b"].map(|key| (key.to_owned(), Fault::Twice));
    assert_eq!(repaired(&store).await, twice);
    let rotation: Vec<String> = store.conn.lrange(&rotation, 0, -1).await.unwrap();
    assert_eq!(rotation, ["a", "b"]);
    all_run(&mut store, &own, &["a", "b"]).await;
}

#[tokio::test]
async fn request_that_does_not_run_holds_no_key() {
    let (mut store, own) = busy(&["a"]).await;
    // As if a settlement had taken the lease and not the slot.
    for id in ["ghost", "a-1"] {
        let () = store.conn.sadd(key(&store, "running:order:a"), id).await.unwrap();
    }
    let () = store.conn.hset(store.keys.permits(), "other", "order a").await.unwrap();
    let found = repaired(&store).await;
    let of_a = |fault| ("a".to_owned(), fault);
    assert_eq!(found, [of_a(Fault::Running), of_a(Fault::Permits)]);
    all_run(&mut store, &own, &["a"]).await;
}

#[tokio::test]
async fn held_key_with_a_free_permit_returns_to_the_rotation() {
    let (mut store, own) = busy(&["a"]).await;
    let () = store.conn.del(key(&store, "running:order:a")).await.unwrap();
    let () = store.conn.del(store.keys.permits()).await.unwrap();
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Held)]);
    assert_eq!(leased(&store, &own, &["a-1".to_owned()]).await, ["a-2"]);
}

#[tokio::test]
async fn key_stays_in_its_place_while_the_rotation_cannot_take_it() {
    let (mut store, own) = busy(&["a"]).await;
    let () = store.conn.del(key(&store, "running:order:a")).await.unwrap();
    let () = store.conn.del(store.keys.permits()).await.unwrap();
    let set = |rule: &str| redis::cmd("ACL").arg("SETUSER").arg("default").arg(rule).to_owned();
    let () = set("-rpush").query_async(&mut store.conn).await.unwrap();
    for _ in 0..2 {
        // It is met among all keys, and again among those that are held.
        assert_eq!(repaired(&store).await, vec![("a".to_owned(), Fault::Held); 2]);
    }
    let held: Vec<String> = store.conn.smembers(key(&store, "held:order")).await.unwrap();
    assert_eq!(held, ["a"]);
    let () = set("+rpush").query_async(&mut store.conn).await.unwrap();
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Held)]);
    assert_eq!(leased(&store, &own, &["a-1".to_owned()]).await, ["a-2"]);
}

#[tokio::test]
async fn request_that_runs_counts_again() {
    // Its slot is gone: nothing would give it back.
    let (mut store, own) = busy(&["a"]).await;
    let () = store.conn.del(store.keys.permits()).await.unwrap();
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Permits)]);
    all_run(&mut store, &own, &["a"]).await;
    // It does not count any more: another one would run at the same time.
    let (mut store, own) = busy(&["a"]).await;
    let () = store.conn.del(key(&store, "running:order:a")).await.unwrap();
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Permits)]);
    all_run(&mut store, &own, &["a"]).await;
}

#[tokio::test]
async fn count_of_partitioned_requests_becomes_right_again() {
    for recorded in [None, Some(1), Some(9)] {
        let (mut store, own) = busy(&["a", "b"]).await;
        let limited = store.keys.limited_names();
        let () = match recorded {
            None => store.conn.del(&limited).await.unwrap(),
            Some(recorded) => store.conn.hset(&limited, "order", recorded).await.unwrap(),
        };
        assert_eq!(repaired(&store).await, [(String::new(), Fault::Count)], "{recorded:?}");
        let count: u64 = store.conn.hget(&limited, "order").await.unwrap();
        assert_eq!(count, 4);
        all_run(&mut store, &own, &["a", "b"]).await;
    }
    let mut store = Store::new().await;
    let () = store.conn.hset(store.keys.limited_names(), "order", 3).await.unwrap();
    assert_eq!(repaired(&store).await, [(String::new(), Fault::Count)]);
    assert!(!store.conn.exists::<_, bool>(store.keys.limited_names()).await.unwrap());
}

#[tokio::test]
async fn wrong_type_is_reported_and_repaired_once_it_is_gone() {
    for what in [
        "rotation:order",
        "held:order",
        "running:order:a",
        "permits",
        "limited",
        "throttled",
        "limit_keys:order",
    ] {
        let (mut store, own) = busy(&["a"]).await;
        let at = key(&store, what);
        let () = store.conn.del(&at).await.unwrap();
        let () = store.conn.set(&at, "x").await.unwrap();
        let types = repaired(&store).await;
        assert!(types.contains(&(at.clone(), Fault::Type)), "{what}: {types:?}");
        let () = store.conn.del(&at).await.unwrap();
        repaired(&store).await;
        repaired(&store).await;
        assert_eq!(repaired(&store).await, [], "{what}");
        all_run(&mut store, &own, &["a"]).await;
    }
}

#[tokio::test]
async fn key_throttled_beyond_its_rate_returns_to_the_rotation() {
    let (mut store, _) = busy(&["a"]).await;
    let ahead = store.now_ms().await + 3_600_000;
    let () = store.conn.del(key(&store, "held:order")).await.unwrap();
    let () = store.conn.zadd(store.keys.throttled(), "order a", ahead).await.unwrap();
    let mut rules = rules();
    rules[0].limit.rate = Some(Rate { count: 1, per: LONG });
    let faults = store.link.repair_limits(&store.keys, &rules, TIMEOUT).await.unwrap();
    assert_eq!(faults.iter().map(|fault| fault.fault).collect::<Vec<_>>(), [Fault::Ahead]);
    assert!(!store.conn.exists::<_, bool>(store.keys.throttled()).await.unwrap());
    assert_eq!(store.conn.llen::<_, u64>(key(&store, "rotation:order")).await.unwrap(), 1);
}

#[tokio::test]
async fn thousands_of_lost_keys_are_found_by_and_by() {
    let mut store = Store::new().await;
    let own = store.worker("own");
    let orders: Vec<String> = (0..2500).map(|n| order(&format!("c{n}"), 1)).collect();
    store.push(&orders).await;
    let rules = rules();
    for _ in 0..3 {
        let poll = QueuePoll { rules: &rules, more: true, ..QueuePoll::take(&own, 1) };
        store.lives(&own).await;
        store.link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
    }
    let listed: usize = store.conn.scard(key(&store, "limit_keys:order")).await.unwrap();
    assert!(listed > 2000, "{listed}");
    let () = store.conn.del(key(&store, "rotation:order")).await.unwrap();
    let mut rounds = Vec::new();
    while store.conn.llen::<_, usize>(key(&store, "rotation:order")).await.unwrap() < listed {
        let found = repaired(&store).await;
        assert!(found.len() <= 1100 && rounds.len() < 200, "{rounds:?}");
        rounds.push(found.len());
    }
    assert!(rounds.len() > 1, "{rounds:?}");
    assert_eq!(repaired(&store).await, []);
}

#[tokio::test]
async fn throttled_keys_of_another_name_hide_no_lost_one() {
    let (mut store, own) = busy(&["a"]).await;
    let () = store.conn.zadd(store.keys.throttled(), "other x", 9e12).await.unwrap();
    assert_eq!(repaired(&store).await, []);
    let () = store.conn.del(key(&store, "held:order")).await.unwrap();
    assert_eq!(repaired(&store).await, [("a".to_owned(), Fault::Lost)]);
    let () = store.conn.del(store.keys.throttled()).await.unwrap();
    all_run(&mut store, &own, &["a"]).await;
}

#[tokio::test]
async fn request_counts_where_its_lease_cannot_be_looked_up() {
    for what in ["live", "leases:own"] {
        let (mut store, own) = busy(&["a"]).await;
        let (at, aside) = (key(&store, what), key(&store, "aside"));
        let () = store.conn.rename(&at, &aside).await.unwrap();
        let () = store.conn.set(&at, "x").await.unwrap();
        assert_eq!(repaired(&store).await, [], "{what}");
        let () = store.conn.rename(&aside, &at).await.unwrap();
        all_run(&mut store, &own, &["a"]).await;
    }
}

#[tokio::test]
async fn counter_of_zero_goes() {
    let (mut store, own) = busy(&["a"]).await;
    all_run(&mut store, &own, &["a"]).await;
    let () = store.conn.hset(store.keys.limited_names(), "order", "0").await.unwrap();
    assert_eq!(repaired(&store).await, []);
    assert!(!store.conn.exists::<_, bool>(store.keys.limited_names()).await.unwrap());
}
