//! Enqueuing on a real Redis. The tests set the knowledge of the queue, so that it can be wrong.

use std::sync::Arc;
use std::time::Duration;

use redcall_common::keys::Keys;
use redcall_store::{Connector, HeldRequests, Session as _};
use redcall_testkit::TestRedis;
use redcall_testkit::redis::aio::MultiplexedConnection;
use redcall_testkit::redis::{self, AsyncCommands};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);
const QUEUE: &str = "redcall:{q}:queue";
const WORKERS: &str = "redcall:{q}:workers";

struct Setup {
    redis: TestRedis,
    conn: MultiplexedConnection,
    link: Connection,
    route: Route,
}

impl Setup {
    /// A queue with this cap and a live worker.
    async fn new(cap: u64) -> Self {
        let redis = TestRedis::start().await;
        let mut conn = redis.connection().await;
        let () = conn.zadd(WORKERS, "w", "+inf").await.unwrap();
        let link = connect(&redis, None).await;
        let () = conn.zadd(WORKERS, "w", link.now_ms() + 60_000).await.unwrap();
        let route = Route::new(Keys::new("redcall").of("q"), "notify".to_owned(), cap);
        Self { redis, conn, link, route }
    }

    /// The queue is noted as empty, for the next hour, and to have a worker.
    fn trust(&self) {
        let later = Instant::now() + Duration::from_secs(3600);
        self.route.room.note_held(later, HeldRequests { queued: 0, outside: 0 });
        self.route.room.note_waited(true);
    }

    async fn enqueue(&self, elements: &[(&str, bool)]) -> Vec<Result<Outcome, StoreError>> {
        let element = |(envelope, waited)| Element { envelope, waited };
        let elements: Vec<_> = elements.iter().copied().map(element).collect();
        let enqueue = Enqueue { link: &self.link, route: &self.route, timeout: LIMIT };
        enqueue.run(&elements, &[]).await
    }

    /// Enqueues them; none is refused by Redis.
    async fn outcomes(&self, elements: &[(&str, bool)]) -> Vec<Outcome> {
        self.enqueue(elements).await.into_iter().map(Result::unwrap).collect()
    }

    async fn queued(&mut self) -> Vec<String> {
        self.conn.lrange(QUEUE, 0, -1).await.unwrap()
    }

    /// How many scripts have run.
    async fn scripts(&mut self) -> usize {
        let stats = redis::cmd("INFO").arg("commandstats").to_owned();
        let stats: String = stats.query_async(&mut self.conn).await.unwrap();
        let calls = stats.lines().find_map(|line| {
            line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok()
        });
        calls.unwrap_or(0)
    }
}

async fn connect(redis: &TestRedis, user: Option<(&str, &str)>) -> Connection {
    let mut settings = redis.settings();
    if let Some((user, password)) = user {
        settings.url += &format!("?user={user}&pass={password}");
    }
    let connector = Connector::new(&settings, "test").unwrap();
    Connection::connect(connector, Arc::new(|_: &[u8], _: &[u8]| ())).await.unwrap()
}

#[tokio::test]
async fn known_room_and_worker_allow_a_push_without_a_script() {
    let mut setup = Setup::new(1_000_000).await;
    assert_eq!(setup.outcomes(&[("a", true)]).await, [Outcome::Queued]);
    assert_eq!(setup.outcomes(&[("b", true)]).await, [Outcome::Queued]);
    let by_script = setup.scripts().await;
    assert_eq!(by_script, 2, "the first call reports nothing about the room, the second reads it");
    setup.trust();
    assert_eq!(setup.outcomes(&[("c", true), ("d", false)]).await, [Outcome::Queued; 2]);
    assert_eq!(setup.scripts().await, by_script);
    assert_eq!(setup.queued().await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn push_deletes_answers_that_were_read() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.set("redcall:{q}:response:x", "answer").await.unwrap();
    setup.trust();
    let enqueue = Enqueue { link: &setup.link, route: &setup.route, timeout: LIMIT };
    let forget = ["redcall:{q}:response:x".to_owned()];
    let element = Element { envelope: "a", waited: true };
    let outcomes = enqueue.run(&[element], &forget).await;
    assert!(matches!(outcomes[..], [Ok(Outcome::Queued)]), "{outcomes:?}");
    let left: bool = setup.conn.exists(&forget).await.unwrap();
    assert!(!left);
}

#[tokio::test]
async fn push_over_the_cap_is_removed_again() {
    let mut setup = Setup::new(3).await;
    let () = setup.conn.rpush(QUEUE, &["x", "y"]).await.unwrap();
    setup.trust();
    let outcomes = setup.outcomes(&[("a", false), ("b", true), ("c", false)]).await;
    assert_eq!(outcomes, [Outcome::Queued, Outcome::Full, Outcome::Full]);
    assert_eq!(setup.queued().await, ["x", "y", "a"]);
    assert_eq!(setup.scripts().await, 0);
}

#[tokio::test]
async fn waited_push_without_a_worker_is_removed_again() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.del(WORKERS).await.unwrap();
    setup.trust();
    let outcomes = setup.outcomes(&[("a", true), ("b", false), ("c", true)]).await;
    assert_eq!(outcomes, [Outcome::NoWorkers, Outcome::Queued, Outcome::NoWorkers]);
    assert_eq!(setup.queued().await, ["b"]);
    // From now on the script decides first.
    assert!(!setup.route.room.allows(1, true, Instant::now()));
}

#[tokio::test]
async fn waited_push_at_the_limit_of_answers_is_removed_again() {
    let mut setup = Setup::new(0).await;
    let () = setup.conn.set(setup.route.keys.answers_full(), "").await.unwrap();
    setup.trust();
    let outcomes = setup.outcomes(&[("a", true), ("b", false)]).await;
    assert_eq!(outcomes, [Outcome::AnswersFull, Outcome::Queued]);
    assert_eq!(setup.queued().await, ["b"]);
}

#[tokio::test]
async fn pushed_request_that_a_worker_took_counts_as_queued() {
    let setup = Setup::new(0).await;
    let removed = setup.link.unpush(&setup.route.keys, &["gone"], LIMIT).await.unwrap();
    assert_eq!(removed, [false]);
}

#[tokio::test]
async fn refusals_of_redis_are_those_of_the_script() {
    let mut setup = Setup::new(0).await;
    let config = |name: &'static str, value: &'static str| {
        let mut conn = setup.conn.clone();
        async move {
            let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).to_owned();
            set.exec_async(&mut conn).await.unwrap();
        }
    };
    let refused = async |setup: &Setup| {
        setup.trust();
        let error = setup.enqueue(&[("a", true)]).await.remove(0).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_) | StoreError::Script { .. }), "{error:?}");
        error.to_string()
    };
    config("maxmemory", "1").await;
    let text = refused(&setup).await;
    assert_eq!(text, "Redis refused the script `enqueue`: the server is out of memory");
    config("maxmemory", "0").await;

    let () = setup.conn.set(QUEUE, "a string").await.unwrap();
    assert!(refused(&setup).await.contains("WRONGTYPE"));
    let () = setup.conn.del(QUEUE).await.unwrap();

    let user = "ACL SETUSER few on >secret ~* &* +@all -zcount";
    let mut user = user.split(' ');
    let mut set = redis::cmd(user.next().unwrap());
    for word in user {
        set.arg(word);
    }
    set.exec_async(&mut setup.conn).await.unwrap();
    setup.link = connect(&setup.redis, Some(("few", "secret"))).await;
    let text = refused(&setup).await;
    assert!(text.starts_with("Redis refused the script `enqueue`"), "{text}");
    assert!(setup.queued().await.is_empty());
}

#[tokio::test]
async fn large_request_passes_no_script() {
    let mut setup = Setup::new(3).await;
    let large = "x".repeat(64 * 1024 + 1);
    let outcomes = setup.outcomes(&[(&large, true), (&large, false)]).await;
    assert_eq!(outcomes, [Outcome::Queued; 2]);
    let outcomes = setup.outcomes(&[(&large, true), (&large, false)]).await;
    assert_eq!(outcomes, [Outcome::Queued, Outcome::Full]);
    let () = setup.conn.del(&[QUEUE, WORKERS]).await.unwrap();
    let outcomes = setup.outcomes(&[(&large, true), (&large, false)]).await;
    assert_eq!(outcomes, [Outcome::NoWorkers, Outcome::Queued]);
    assert_eq!((setup.scripts().await, setup.queued().await.len()), (0, 1));
    // Next to a small one, which the script decides on.
    let outcomes = setup.outcomes(&[(&large, false), ("small", false)]).await;
    assert_eq!(outcomes, [Outcome::Queued; 2]);
    assert_eq!(setup.scripts().await, 1);
}
