//! Groups that share the work.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use redcall_client::{EventError, GroupItem, GroupMember, Kind};
use redcall_testkit::eventually;
use tokio::time::timeout;

use super::{PATIENCE, bench, publish};

async fn take(member: &mut GroupMember) -> (String, bool) {
    match timeout(PATIENCE, member.next()).await.unwrap().unwrap() {
        GroupItem::Event { event, again } => {
            assert!(member.ack(&event).await.unwrap());
            (event.context.get().to_owned(), again)
        }
        GroupItem::Missed(count) => (format!("missed {count:?}"), false),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_goes_to_one_member_and_to_every_group() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    publish(&client, "door", 0..5).await;
    let mut members = Vec::new();
    for _ in 0..4 {
        members.push(bench.client().await.events("door").group("workers").await.unwrap());
    }
    let mut other = client.events("door").since(SystemTime::UNIX_EPOCH).group("all").await.unwrap();
    publish(&client, "door", 5..200).await;
    let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
    for mut member in members {
        let done = done.clone();
        tokio::spawn(async move {
            loop {
                done.send(take(&mut member).await).unwrap();
            }
        });
    }
    let mut seen = BTreeSet::new();
    while seen.len() < 195 {
        let (number, again) = timeout(PATIENCE, all.recv()).await.unwrap().unwrap();
        assert!(!again && seen.insert(number.clone()), "{number} twice");
    }
    assert!((5..200).all(|number: u32| seen.contains(&number.to_string())));
    for number in 0..200 {
        assert_eq!(take(&mut other).await, (number.to_string(), false));
    }
}

#[tokio::test]
async fn events_of_a_dead_member_go_to_another_member() {
    let bench = bench(10_000).await;
    let client = bench.client().await;
    let short = Duration::from_millis(100);
    let mut dead = client.events("door").group("workers").await.unwrap().claim_after(short);
    publish(&client, "door", 0..2).await;
    let GroupItem::Event { event, .. } = dead.next().await.unwrap() else { panic!() };
    assert_eq!(event.context.get(), "0");
    let mut heir = client.events("door").group("workers").await.unwrap().claim_after(short);
    let mut both = [take(&mut heir).await, take(&mut heir).await];
    both.sort();
    assert_eq!(both, [("0".to_owned(), true), ("1".to_owned(), false)]);
    assert!(!dead.ack(&event).await.unwrap(), "another has done it");
    drop(dead);
    let mut conn = bench.redis.connection().await;
    let key = "redcall:{events:door}:events";
    let mut number = 2;
    eventually("the dead member to be forgotten", async || {
        publish(&client, "door", number..number + 1).await;
        assert_eq!(take(&mut heir).await.0, number.to_string());
        number += 1;
        let list = redis::cmd("XINFO").arg("CONSUMERS").arg(key).arg("workers").to_owned();
        let members: Vec<redis::Value> = list.query_async(&mut conn).await.unwrap();
        (members.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn absent_group_gets_its_missed_count() {
    let bench = bench(100).await;
    let client = bench.client().await;
    let mut member = client.events("door").group("workers").await.unwrap();
    publish(&client, "door", 0..3).await;
    for number in 0..3 {
        assert_eq!(take(&mut member).await.0, number.to_string());
    }
    drop(member);
    publish(&client, "door", 3..1000).await;
    let mut conn = bench.redis.connection().await;
    let length = redis::cmd("XLEN").arg("redcall:{events:door}:events").to_owned();
    let length: u32 = length.query_async(&mut conn).await.unwrap();
    let mut member = client.events("door").group("workers").await.unwrap();
    assert_eq!(take(&mut member).await.0, format!("missed Some({})", 1000 - length - 3));
    assert_eq!(take(&mut member).await.0, (1000 - length).to_string());
    let mut late = client.events("door").since(SystemTime::UNIX_EPOCH).group("late").await.unwrap();
    assert_eq!(take(&mut late).await.0, "missed None");
}

#[tokio::test]
async fn unwanted_event_kinds_are_skipped_and_names_checked() {
    let bench = bench(100).await;
    let client = bench.client().await;
    let mut member = client.events("door").kind(Kind(7)).group("workers").await.unwrap();
    for kind in [8, 7, 9, 7] {
        client.publish("door", Kind(kind), &kind).await.unwrap();
    }
    assert_eq!((take(&mut member).await.0, take(&mut member).await.0), ("7".into(), "7".into()));
    let refused = client.events("door").group("a b").await.err();
    assert!(matches!(refused, Some(EventError::Group(_))));
}
