//! The rights at rq's Redis that the guide names: they suffice, and each of them is used.

use std::collections::HashMap;
use std::time::Duration;

use redcall_testkit::redis::{AsyncCommands as _, Value, cmd, from_redis_value};
use redcall_testkit::{TestRedis, eventually};
use serde_json::json;

use crate::outward::Taken;
use crate::rq_redis::{RqRedis, call, gated};
use crate::support::Stage;

const PAGE: &str = include_str!("../../../docs/guide/gateway-rq.md");

/// The commands that only a door with `serves` needs, by the guide.
const SERVES: &[&str] =
    &["client|caching", "client|tracking", "del", "exec", "exists", "hmset", "multi", "sadd"];

/// The words of the command in the guide.
fn acl() -> Vec<&'static str> {
    let (_, rest) = PAGE.split_once("<!-- test:rights -->\n```text\n").unwrap();
    rest.split_once("```").unwrap().0.split_whitespace().collect()
}

/// rq's own Redis, in which the gateway is the user of the guide.
struct Guarded {
    redis: TestRedis,
    rq: RqRedis,
}

impl Guarded {
    async fn new() -> Self {
        let redis = TestRedis::start().await;
        let mut rq = RqRedis(redis.connection().await);
        let () = cmd("SELECT").arg(1).query_async(&mut rq.0).await.unwrap();
        let words: Vec<String> =
            acl().into_iter().map(|word| word.replace("SECRET", "secret")).collect();
        let () = cmd(&words[0]).arg(&words[1..]).query_async(&mut rq.0).await.unwrap();
        Self { redis, rq }
    }

    /// Changes the user's rights.
    async fn set(&mut self, sign: char, commands: &[&str]) {
        let rules: Vec<String> = commands.iter().map(|name| format!("{sign}{name}")).collect();
        let set = cmd("ACL").arg("SETUSER").arg("redcall-rq").arg(rules).to_owned();
        let () = set.query_async(&mut self.rq.0).await.unwrap();
    }

    /// A door of this user, with these keys.
    fn door(&self, keys: &str) -> String {
        let url = format!("{}?user=redcall-rq&pass=secret&db=1", self.redis.url());
        format!("[gateways.python-rpc]\nprotocol = \"rq\"\nurl = \"{url}\"\n{keys}\n")
    }

    /// Closes all connections of the gateway.
    async fn disconnect(&mut self) {
        let kill = ["KILL", "USER", "redcall-rq"];
        let killed: u64 = cmd("CLIENT").arg(&kill).query_async(&mut self.rq.0).await.unwrap();
        assert!(killed > 0);
    }

    /// Returns the commands and keys that Redis has refused.
    async fn refused(&mut self) -> Vec<String> {
        let log: Vec<HashMap<String, Value>> =
            cmd("ACL").arg("LOG").query_async(&mut self.rq.0).await.unwrap();
        let object = |entry: HashMap<String, Value>| from_redis_value(entry["object"].clone());
        log.into_iter().map(|entry| object(entry).unwrap()).collect()
    }

    /// Returns the commands that ran, in the form of a rule.
    async fn ran(&mut self) -> Vec<String> {
        let stats: String =
            cmd("INFO").arg("commandstats").query_async(&mut self.rq.0).await.unwrap();
        let names = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
        names.map(|(name, _)| format!("+{name}")).collect()
    }
}

#[tokio::test]
async fn documented_rights_suffice_and_each_is_used() {
    let stage = Stage::new().await;
    let (_worker, mut gate) = gated(&stage).await;
    let (client, mut redis) = (stage.client().await, Guarded::new().await);
    let door = redis.door("take = [\"calls\"]\ntimeout = \"20s\"");
    redis.set('-', SERVES).await;

    // A call that another gateway takes over, one without an answer, a refused one, and an id that
    // is too long.
    let first = stage.gateway(&door).await;
    let key = redis.rq.call("calls", "gate", "1").await;
    gate.started.recv().await.unwrap();
    first.kill().await;
    let second = stage.gateway(&door).await;
    gate.ends.add_permits(2);
    assert_eq!(redis.rq.answer(&key).await, json!(1));
    let () = redis.rq.0.rpush("rq:queue:calls", "x".repeat(1000)).await.unwrap();
    redis.rq.enqueue("calls", "silent", &call("gate", "2", None)).await;
    redis.rq.ends("silent", "finished").await;
    redis.rq.enqueue("calls", "refused", b"not a pickle").await;
    redis.rq.ends("refused", "failed").await;

    second.end().await.unwrap();

    // A job of Redcall that is answered after a lost connection, and one that is withdrawn.
    redis.set('+', SERVES).await;
    let door = redis.door("serves = [\"resize\"]\nqueues = [\"python\"]\ntimeout = \"20s\"");
    let third = stage.gateway(&door).await;
    let resize = |timeout| client.request("resize").queue("python").timeout(timeout).wait();
    let calling = tokio::spawn(resize(Duration::from_secs(15)));
    assert_eq!(redis.refused().await, Vec::<String>::new());
    let job = Taken::next(&mut redis.rq).await;
    redis.disconnect().await;
    job.answer(&mut redis.rq, "{\"data\": 7}").await;
    assert_eq!(calling.await.unwrap().unwrap().data.get(), "7");
    resize(Duration::from_millis(500)).await.unwrap_err();
    eventually("the job to be removed", async || {
        let length: u64 = redis.rq.0.llen("rq:queue:default").await.unwrap();
        (length == 0).then_some(())
    })
    .await;
    third.end().await.unwrap();

    assert_eq!(redis.refused().await, Vec::<String>::new());
    let ran = redis.ran().await;
    let rules = acl().into_iter().filter(|word| word.starts_with('+'));
    // Closes a connection that was given up and is still there.
    let unused = rules.filter(|rule| *rule != "+client|kill" && !ran.iter().any(|ran| ran == rule));
    assert_eq!(unused.collect::<Vec<_>>(), [""; 0]);
}
