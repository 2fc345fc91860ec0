//! The scripts at rq's Redis with a failure at each of their commands: no job is lost, and no
//! answer is repeated.

use std::collections::BTreeSet;
use std::time::Duration;

use redcall_store::rq::{JobEnd, RqFinish, RqInbox, RqKeys, TakenJob};
use redcall_store::{Connector, StoreError};
use redcall_testkit::redis::{AsyncCommands as _, cmd};
use redcall_testkit::{TestRedis, eventually};

use crate::rq_redis::{DOOR, RqRedis, call, uuid};
use crate::support::Stage;

const TIMEOUT: Duration = Duration::from_secs(10);
const GATEWAYS: &str = "redcall-gateway:rq:door:gateways";
const LATER: &str = "redcall-gateway:rq:door:later";

/// Returns the commands of a script.
fn commands(script: &'static str) -> BTreeSet<&'static str> {
    let calls = script.split("redis.call('").skip(1);
    calls.map(|call| call.split('\'').next().unwrap()).collect()
}

/// A server, and an inbox whose user may lose rights.
struct Place {
    _redis: TestRedis,
    rq: RqRedis,
    inbox: RqInbox,
}

impl Place {
    /// With the jobs `a` and `b` in the queue `q`.
    async fn new() -> Self {
        let redis = TestRedis::start().await;
        let mut rq = RqRedis(redis.connection().await);
        user(&mut rq, &["on", ">secret", "~*", "&*", "+@all"]).await;
        let mut settings = redis.settings();
        settings.url = format!("{}?user=limited&pass=secret", redis.url());
        let connector = Connector::new(&settings, "test").unwrap();
        let keys = RqKeys::new("redcall", "door");
        let inbox = RqInbox::open(connector, keys, Duration::from_secs(1000)).await.unwrap();
        for id in ["a", "b"] {
            rq.enqueue("q", id, b"x").await;
        }
        Self { _redis: redis, rq, inbox }
    }

    async fn take(&self) -> Result<Vec<TakenJob>, StoreError> {
        self.inbox.take(&[], &["q".to_owned()], 10, 100, TIMEOUT).await
    }

    async fn list(&mut self, key: &str) -> Vec<String> {
        self.rq.0.lrange(key, 0, -1).await.unwrap()
    }
}

/// Changes the user's rights.
async fn user(rq: &mut RqRedis, rules: &[&str]) {
    let () =
        cmd("ACL").arg("SETUSER").arg("limited").arg(rules).query_async(&mut rq.0).await.unwrap();
}

#[tokio::test]
async fn failing_take_moves_no_job() {
    for command in commands(include_str!("../../../../store/src/rq/lua/take.lua")) {
        if command == "LPOP" {
            // Only for an id that is too long.
            continue;
        }
        let mut place = Place::new().await;
        user(&mut place.rq, &[&format!("-{command}")]).await;
        assert!(place.take().await.is_err(), "{command}");
        assert_eq!(place.list("rq:queue:q").await, ["a", "b"], "{command}");
        user(&mut place.rq, &[&format!("+{command}")]).await;
        assert_eq!(place.take().await.unwrap().len(), 2, "{command}");
    }
    let mut place = Place::new().await;
    let () = place.rq.0.set(GATEWAYS, "x").await.unwrap();
    assert!(place.take().await.is_err());
    assert_eq!(place.list("rq:queue:q").await, ["a", "b"]);
}

#[tokio::test]
async fn failing_end_is_repeated_and_answers_once() {
    let mut all = commands(include_str!("../../../../store/src/rq/lua/finish.lua"));
    assert!(all.remove("TYPE") && all.len() == 6, "{all:?}");
    for command in all {
        let mut place = Place::new().await;
        let job = place.take().await.unwrap().remove(0);
        let end = JobEnd {
            id: &job.id,
            inbox: &job.inbox,
            status: "finished",
            result_ttl: Duration::from_secs(100),
            answer: Some(("key", "answer")),
            answer_ttl: Duration::from_secs(50),
        };
        user(&mut place.rq, &[&format!("-{command}")]).await;
        for _ in 0..2 {
            assert!(place.inbox.finish(&end, TIMEOUT).await.is_err(), "{command}");
        }
        user(&mut place.rq, &[&format!("+{command}")]).await;
        assert_eq!(place.inbox.finish(&end, TIMEOUT).await.unwrap(), RqFinish::Ended, "{command}");
        assert_eq!(place.list("key").await, ["answer"], "{command}");
        assert!((1..=50).contains(&place.rq.ttl("key").await), "{command}");
        assert_eq!(place.rq.status("a").await.as_deref(), Some("finished"), "{command}");
        let inbox = format!("redcall-gateway:rq:door:inbox:{}", job.inbox);
        assert_eq!(place.list(&inbox).await, ["b"], "{command}");
    }
}

#[tokio::test]
async fn failing_move_to_the_later_jobs_leaves_the_job_in_one_list() {
    let mut all: Vec<&str> =
        commands(include_str!("../../../../store/src/rq/lua/later.lua")).into_iter().collect();
    all.push("a key of another type");
    for command in all {
        let mut place = Place::new().await;
        let jobs = place.take().await.unwrap();
        let inbox = format!("redcall-gateway:rq:door:inbox:{}", jobs[0].inbox);
        let is_command = !command.contains(' ');
        match is_command {
            true => user(&mut place.rq, &[&format!("-{command}")]).await,
            false => place.rq.0.set(LATER, "x").await.unwrap(),
        }
        assert!(place.inbox.put_later(&jobs[0], TIMEOUT).await.is_err(), "{command}");
        assert_eq!(place.list(&inbox).await, ["a", "b"], "{command}");
        match is_command {
            true => user(&mut place.rq, &[&format!("+{command}")]).await,
            false => place.rq.0.del(LATER).await.unwrap(),
        }
        assert_eq!(place.rq.ttl(LATER).await, -2, "{command}");
        assert!(place.inbox.put_later(&jobs[0], TIMEOUT).await.unwrap(), "{command}");
        assert!(!place.inbox.put_later(&jobs[0], TIMEOUT).await.unwrap(), "{command}");
        assert_eq!(
            (place.list(LATER).await, place.list(&inbox).await),
            (vec!["a".into()], vec!["b".to_owned()])
        );
        // Later jobs come in their order.
        assert!(place.inbox.put_later(&jobs[1], TIMEOUT).await.unwrap(), "{command}");
        assert!(place.inbox.beat(TIMEOUT).await.unwrap().has_later);
        let again = place.inbox.take_later(10, 100, TIMEOUT).await.unwrap();
        let ids: Vec<&[u8]> = again.iter().map(|job| &*job.id).collect();
        assert_eq!(ids, [b"a", b"b"]);
        assert!(!place.inbox.beat(TIMEOUT).await.unwrap().has_later);
    }
}

/// The second of two jobs cannot be read, after the first was moved.
#[tokio::test]
async fn job_before_one_that_fails_is_taken_again() {
    let stage = Stage::new().await;
    let _worker = stage.worker(|worker| worker).await;
    let mut rq = RqRedis::of(&stage).await;
    let keys = ["~redcall-gateway:*", "~rq:queue:*", "~rq:job:a", "~????????-*"];
    user(&mut rq, &[&["on", ">secret", "&*", "+@all"][..], &keys].concat()).await;
    let url = format!("{}?user=limited&pass=secret", stage.redis.url());
    let answers = [uuid(), uuid()];
    for (id, key) in ["a", "b"].iter().zip(&answers) {
        rq.enqueue("default", id, &call("add", "{\"a\": 1, \"b\": 1}", Some(key))).await;
    }
    let _gateway = stage.gateway(&format!("{DOOR}url = \"{url}\"\n")).await;
    eventually("the first job to be moved", async || {
        let length: usize = rq.0.clone().llen("rq:queue:default").await.unwrap();
        (length == 1).then_some(())
    })
    .await;
    user(&mut rq, &["~rq:job:*"]).await;
    for key in &answers {
        assert_eq!(rq.answer(key).await, serde_json::json!({"answer": 2}));
    }
}
