//! `cargo xtask long events`: the delay of events with a hundred subscribers, and the events of a
//! subscriber that was away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made must end loudly"
)]

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redcall_client::{Client, EventItem, EventStream, Kind};
use redcall_tests::Bench;
use redcall_worker::handler_runtime;
use tokio::time::{interval, timeout};

const TOPIC: &str = "load";
/// How many follow, and by how many clients, as if each were a process.
const FOLLOWERS: usize = 100;
const CLIENTS: usize = 10;
const EVERY: Duration = Duration::from_millis(1);
/// How many are published: thirty seconds and a bit.
const EVENTS: u64 = 31_000;
/// Longer than the last one may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = handler_runtime().expect("a runtime");
    runtime.block_on(run());
    runtime.shutdown_background();
}

async fn run() {
    let bench = Bench::new().await;
    let began = Instant::now();
    let mut followers = Vec::new();
    for _ in 0..CLIENTS {
        let client = bench.client().await;
        for _ in 0..FOLLOWERS / CLIENTS {
            let events = client.events(TOPIC).subscribe().await.expect("follow");
            followers.push(tokio::spawn(follow(client.clone(), events, began)));
        }
    }
    let (publisher, away) = (bench.client().await, bench.client().await);
    let mut first = away.events(TOPIC).subscribe().await.expect("follow");
    publish(&publisher, began, 0).await;
    let Some(Ok(EventItem::Event(seen))) = first.next().await else { panic!("no first event") };
    drop(first);
    let mut clock = interval(EVERY);
    for number in 1..EVENTS {
        clock.tick().await;
        publish(&publisher, began, number).await;
    }
    let took = began.elapsed();
    let times = timeout(PATIENCE, join_all(followers)).await.expect("all events in time");
    let mut times: Vec<u32> = times.into_iter().flat_map(|times| times.expect("times")).collect();
    times.sort_unstable();
    let at = |part: f64| f64::from(times[(part * (times.len() - 1) as f64) as usize]) / 1000.0;
    println!(
        "{EVENTS} events in {:.1} s, {FOLLOWERS} followers of {CLIENTS} clients, {} deliveries",
        took.as_secs_f64(),
        times.len()
    );
    println!("p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", at(0.5), at(0.99), at(0.999));
    let back = away.events(TOPIC).after(seen.id).subscribe().await.expect("follow");
    let kept = timeout(PATIENCE, catch_up(back)).await.expect("the kept events");
    println!(
        "away for {:.0} s: notified that some were missed, then the last {kept} without a hole",
        took.as_secs_f64()
    );
    assert!(kept >= bench.settings.events.max, "fewer than the bound were kept");
    assert!(at(0.99) < 50.0, "p99 is 50 ms or more");
}

/// The publication time of the event, and its number.
async fn publish(client: &Client, began: Instant, number: u64) {
    let now = u64::try_from(began.elapsed().as_micros()).expect("a short run");
    client.publish(TOPIC, Kind::EVENT, &(now, number)).await.expect("publish");
}

/// How late each event was, µs.
async fn follow(_client: Client, mut events: EventStream, began: Instant) -> Vec<u32> {
    let mut times = Vec::new();
    loop {
        let (published, number) =
            next(&mut events).await.expect("a present subscriber misses none");
        let late = began.elapsed() - Duration::from_micros(published);
        times.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        if number == EVENTS - 1 {
            return times;
        }
    }
}

/// Returns the number of events up to the last one, after the missed count.
async fn catch_up(mut events: EventStream) -> u64 {
    assert!(next(&mut events).await.is_none(), "more were trimmed than were reported as missed");
    let (_, first) = next(&mut events).await.expect("an event");
    for expected in first + 1..EVENTS {
        let (_, number) = next(&mut events).await.expect("an event");
        assert_eq!(number, expected, "there is a hole");
    }
    EVENTS - first
}

/// When the next one was published, µs, and its number; None: some were missed.
async fn next(events: &mut EventStream) -> Option<(u64, u64)> {
    match events.next().await.expect("a stream without end").expect("Redis is there") {
        EventItem::Event(event) => Some(serde_json::from_str(event.context.get()).expect("ours")),
        EventItem::Missed(_) => None,
    }
}
