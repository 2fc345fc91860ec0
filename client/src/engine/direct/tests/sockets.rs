//! Kinds of sockets, sockets that are full, and other runtimes.

use redcall_testkit::ReplicatedRedis;
use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn signal(redis: &TestRedis, signal: Signal) {
    let pid = Pid::from_raw(redis.pid().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Has several requests of the largest size written at once, as many as may be unanswered, to a
/// server that does not read.
async fn write_to_a_full_socket(mut setup: Setup) {
    signal(&setup.redis, Signal::STOP);
    let (mut pushed, mut expected) = (Vec::new(), Vec::new());
    for write in 0..WRITES_MAX {
        let envelopes = (0..4).map(|number| format!("{write}{number}").repeat(31 << 10));
        let envelopes: Vec<String> = envelopes.collect();
        let requests = envelopes.iter().map(|envelope| setup.forgotten(envelope));
        let (requests, confirmed): (Vec<_>, Vec<_>) = requests.unzip();
        let left = setup.client.inner.direct.push(requests, setup.now_ms());
        if left.is_empty() {
            pushed.extend(confirmed);
            expected.extend(envelopes);
        } else {
            assert_eq!(left.len(), 4, "no write was begun: the socket is full");
        }
    }
    // A MiB that nothing reads is more than a socket takes.
    assert!((4..16).contains(&pushed.len()), "{} of 16", pushed.len());
    signal(&setup.redis, Signal::CONT);
    for confirmed in pushed {
        ended(confirmed).await.unwrap();
    }
    assert!(setup.queued().await == expected);
    // Callers write again.
    setup.trust();
    ended(setup.push("last")).await.unwrap();
}

#[tokio::test]
async fn rest_of_a_write_is_sent_when_the_socket_takes_it() {
    write_to_a_full_socket(Setup::on(TestRedis::start().await).await).await;
}

#[tokio::test]
async fn caller_without_budget_writes() {
    let setup = Setup::new(0).await;
    // Of this task, for sockets and channels.
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    let mut pushed = vec![setup.push("a")];
    pushed.push(setup.push("b"));
    for confirmed in pushed {
        ended(confirmed).await.unwrap();
    }
}

#[tokio::test]
async fn caller_writes_over_tls() {
    let mut setup = Setup::on(TestRedis::start_tls().await).await;
    let large: Vec<String> = (0..4).map(|n: usize| n.to_string().repeat(60 << 10)).collect();
    let pushed: Vec<Confirmed> = large.iter().map(|envelope| setup.push(envelope)).collect();
    for confirmed in pushed {
        ended(confirmed).await.unwrap();
    }
    assert!(setup.queued().await == large);
}

#[test]
fn caller_of_another_runtime_writes() {
    let [own, other] = [(), ()].map(|()| tokio::runtime::Runtime::new().unwrap());
    let mut setup = own.block_on(Setup::new(0));
    other.block_on(async {
        ended(setup.push("a")).await.unwrap();
    });
    let queued = own.block_on(setup.queued());
    assert_eq!(queued, ["a"]);
    // Without any.
    let pushed = setup.push("b");
    own.block_on(async { ended(pushed).await.unwrap() });
}

#[tokio::test]
async fn caller_writes_to_the_new_primary_after_a_failover() {
    let mut redis = ReplicatedRedis::start().await;
    let settings = Settings { redis: redis.settings(), ..Settings::default() };
    let client = Client::from_settings(&settings).await.unwrap();
    let route = client.inner.route("q");
    let push = |envelope: &str| {
        let later = Instant::now() + Duration::from_secs(3600);
        route.room.note_held(later, HeldRequests { queued: 0, outside: 0 });
        let (done, confirmed) = oneshot::channel();
        let caller = Caller::Forgets { done, send_claim: SendClaim::default() };
        let payload = Payload::Push(envelope.to_owned());
        let outgoing = Outgoing { route: HandedIn::new(route.clone()), payload, caller };
        let left = client.inner.direct.push(vec![outgoing], client.inner.link.now_ms());
        left.is_empty().then_some(confirmed)
    };
    let first = async || ended(push("first")?).await.ok();
    eventually("a caller to write", first).await;
    redis.kill(0);
    redis.is_primary(1).await;
    // Some may fail meanwhile: none is lost silently.
    eventually("a caller to write to the new one", async || ended(push("second")?).await.ok())
        .await;
    let queued: Vec<String> = redis.connection(1).await.lrange(QUEUE, 0, -1).await.unwrap();
    assert_eq!(queued.last().map(String::as_str), Some("second"), "{queued:?}");
}
