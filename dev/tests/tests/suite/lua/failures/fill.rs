//! Two states of a queue: one with nothing special, and one with something at each key.

use redcall_common::keys::QueueKeys;
use redcall_common::request::ReplyTo;
use redis::aio::MultiplexedConnection;

use crate::lua::{CHANNEL, envelope};

/// The state of the queue when a case begins. The worker `own` lives and makes the calls; the lease
/// of the worker `gone` has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Requests, leases and dead letters.
    Plain,
    /// All that a queue can hold.
    Full,
}

/// An element that is not a request.
pub(super) const JUNK: &str = "junk";
/// Leased by `own` in both states.
pub(super) const LEASED: &[&str] = &["l1", "l2", "l3", "l4"];
/// Leased by `own` in the full state.
const ALSO_LEASED: &[&str] =
    &["r1", "again", "cancelled", "runs", "joins", "begins", "monitored", "service"];
/// A Redis time in ms that has not come yet.
pub(super) const FAR: &str = "9000000000000";

/// A request of the limited name, which counts by `key`.
pub(super) fn limited(id: &str, key: &str) -> String {
    format!(r#"{{"id":"{id}","name":"lim","data":{{"k":"{key}"}}}}"#)
}

/// A frame that ends a request.
pub(super) fn frame(keys: &QueueKeys, id: &str, by: &str) -> String {
    let key = keys.response(id);
    let head = format!(r#"{{"id":"{id}","response_key":"{key}","type":"result","seq":1,"#);
    format!(r#"{head}"attempt":1,"data":"{by}"}}"#)
}

/// Where a frame goes.
pub(super) fn reply(keys: &QueueKeys, id: &str) -> ReplyTo {
    let notify = Some(CHANNEL.to_owned());
    ReplyTo { response_key: keys.response(id), ttl_ms: 600_000, notify }
}

/// As `live.lua` pads it.
fn holder(worker: &str) -> String {
    format!("{worker:<65}")
}

/// Commands, sent in one write.
struct Writer<'a> {
    pipe: redis::Pipeline,
    keys: &'a QueueKeys,
}

impl Writer<'_> {
    fn add(&mut self, command: &str, key: &str, args: &[&str]) {
        self.pipe.cmd(command).arg(key).arg(args).ignore();
    }

    fn queue(&mut self, elements: &[&str]) {
        self.add("RPUSH", &self.keys.queue(), elements);
    }

    fn lease(&mut self, worker: &str, id: &str, raw: &str) {
        self.add("HSET", &self.keys.leases(worker), &[id, raw]);
        self.add("HSET", &self.keys.live(), &[id, &holder(worker)]);
    }

    fn dead(&mut self, entry: &str, id: &str) {
        let raw = envelope(id);
        let fields = ["id", id, "code", "timeout", "reason", "why", "worker", "w", "request", &raw];
        self.add("XADD", &self.keys.dead(), &[&[entry][..], &fields].concat());
    }

    fn defer(&mut self, id: &str, deadline: &str, call: &str) {
        let tail = |code: &str| {
            let error = format!(r#""error":{{"code":"{code}","message":"why"}}"#);
            format!(r#","type":"error","seq":1,"attempt":1,{error}}}"#)
        };
        let (late, gone) = (tail("deadline_exceeded"), tail("cancelled"));
        let (raw, token) = (envelope(id), format!("token-{id}"));
        let mut fields = vec!["deadline", deadline, "raw", &raw, "worker", "own"];
        fields.extend(["dead_max", "100", "dead_age", "3600000", "idem", call, "keep", "60000"]);
        fields.extend(["token", &token, "name", "add", "attempt", "1", "seq", "1"]);
        fields.extend(["late", &late, "gone", &gone, "dead_letter", "1", "event", "1"]);
        fields.extend(["ttl", "600000", "channel", CHANNEL, "status", "60000"]);
        self.add("HSET", &self.keys.deferred(id), &fields);
        self.add("ZADD", &self.keys.deferred_ids(), &[deadline, id]);
        self.add("HSET", &self.keys.live(), &[id, &holder("(deferred)")]);
    }

    fn call(&mut self, digest: &str, runs: &str, waiters: &[&str]) {
        let record = self.keys.idem(digest);
        self.add("HSET", &record, &["id", runs, "digest", "data", "deadline", "1"]);
        for waiter in waiters {
            let wants = format!("600000 {CHANNEL} 60000");
            self.add("HSET", &record, &[&format!("w:{waiter}"), &wants]);
        }
    }

    fn scheduled(&mut self, id: &str, due: &str) {
        self.add("ZADD", &self.keys.schedule(), &[due, id]);
        self.add("HSET", &self.keys.scheduled(), &[id, &envelope(id)]);
    }

    fn record(&mut self, id: &str) {
        let record = r#"{"attempt":1,"fails":1,"crashes":0,"runs":[{"attempt":1,"code":"x"}]}"#;
        self.add("HSET", &self.keys.attempts(), &[id, record]);
    }

    fn plain(&mut self, lease_ends: &str) {
        self.add("ZADD", &self.keys.workers(), &[lease_ends, "own", "1", "gone"]);
        self.add("ZADD", &self.keys.names(), &[FAR, "add", FAR, "lim", FAR, "elsewhere"]);
        self.add("SET", &self.keys.worker("own"), &["{}"]);
        let [q1, q2, q3] = ["q1", "q2", "q3"].map(envelope);
        self.queue(&[&q1, JUNK, &q2, &q3]);
        self.add("RPUSH", &self.keys.inbox("own"), &[&envelope("popped")]);
        self.add("RPUSH", &self.keys.inbox("gone"), &[&envelope("theirs")]);
        LEASED.iter().for_each(|id| self.lease("own", id, &envelope(id)));
        self.lease("gone", "g1", &envelope("g1"));
        self.lease("gone", "g2", &envelope("g2"));
        self.add("SET", &self.keys.poll("own"), &["1 1"]);
        self.add("ZADD", &self.keys.lanes(), &[FAR, "own", FAR, "gone"]);
        let [y1, y2, y3, y4] = ["y1", "y2", "y3", "y4"].map(envelope);
        self.add("RPUSH", &self.keys.lane_inbox("own", 0), &[&y1, &y2]);
        self.add("RPUSH", &self.keys.lane_inbox("own", 1), &[&y3]);
        self.add("RPUSH", &self.keys.lane_inbox("gone", 1), &[&y4]);
        self.add("SET", &self.keys.lane_poll("own", 0), &["0 1 1"]);
        self.dead("1-0", "d1");
        self.dead("2-0", "d2");
        self.add("RPUSH", &self.keys.response("q1"), &[r#"{"type":"pending"}"#]);
    }

    fn limits(&mut self) {
        let of = |what: &str| format!("{}:{what}", self.keys.base());
        let [polls, held, all] = ["rotation:lim", "held:lim", "limit_keys:lim"].map(of);
        let lists = ["a", "b", "c", "d"].map(|key| (of(&format!("limited:lim:{key}")), key));
        let [running_a, running_d] = ["running:lim:a", "running:lim:d"].map(of);
        let rate = of("rate:lim:c");
        for (list, key) in lists {
            self.add("RPUSH", &list, &[&limited(&format!("partitioned-{key}"), key)]);
        }
        self.add("HSET", &self.keys.limited_names(), &["lim", "4"]);
        self.add("SADD", &all, &["a", "b", "c", "d"]);
        self.add("RPUSH", &polls, &["b"]);
        self.add("SADD", &held, &["a", "d"]);
        self.add("ZADD", &self.keys.throttled(), &[FAR, "lim c"]);
        self.add("SET", &rate, &["9000000000000000", "PX", "600000"]);
        self.add("SADD", &running_a, &["r1"]);
        self.add("SADD", &running_d, &["r2"]);
        self.add("HSET", &self.keys.permits(), &["r1", "lim a", "r2", "lim d"]);
        self.lease("gone", "r2", &limited("r2", "d"));
    }

    fn full(&mut self) {
        let [c1, new] = [envelope("c1"), limited("new", "e")];
        self.queue(&[&c1, &new, &limited("more", "a")]);
        ALSO_LEASED.iter().for_each(|id| self.lease("own", id, &envelope(id)));
        self.limits();
        self.lease("own", "r1", &limited("r1", "a"));
        for id in ["q2", "s3", "again", "r2"] {
            self.record(id);
        }
        let tombstones = [FAR, "c1", FAR, "cancelled"];
        self.add("ZADD", &self.keys.cancelled(), &tombstones);
        self.scheduled("s1", "1");
        self.scheduled("s2", FAR);
        self.scheduled("s3", "2");
        self.add("RPUSH", &self.keys.parked("away"), &[&envelope("parked")]);
        self.add("SADD", &self.keys.parked_names(), &["away"]);
        self.defer("x1", FAR, "");
        self.defer("x2", "1", "");
        self.defer("x3", FAR, &self.keys.idem("deferred"));
        self.defer("x4", "2", &self.keys.idem("late"));
        self.call("running", "runs", &["runs", "w1"]);
        self.call("begun", "c1", &["c1", "w2"]);
        self.call("deferred", "x3", &["x3", "w3"]);
        self.call("late", "x4", &["x4", "w4"]);
        self.call("alone", "s2", &["s2"]);
        let ended = r#","type":"result","seq":1,"attempt":1,"data":"kept"}"#;
        let record = ["id", "e1", "digest", "data", "deadline", "0", "tail", ended];
        self.add("HSET", &self.keys.idem("ended"), &record);
        for id in ["monitored", "d1", "w1", "x1"] {
            let state = r#"{"status":"Pending","at_ms":1,"attempt":0}"#;
            self.add("RPUSH", &self.keys.status(id), &[state]);
            self.add("PEXPIRE", &self.keys.status(id), &["600000"]);
        }
        self.add("HSET", &self.keys.state("one"), &["state", "{}", "version", "3"]);
        self.add("HSET", &self.keys.ticks(), &["often", "1000"]);
        let frames: Vec<String> = (0..3)
            .map(|seq| {
                let head = r#"{"id":"l1","response_key":"k","type":"progress","seq":"#;
                format!(r#"{head}{seq},"attempt":1}}"#)
            })
            .collect();
        let frames: Vec<&str> = frames.iter().map(String::as_str).collect();
        self.add("RPUSH", &self.keys.response("l1"), &frames);
        for entry in ["1-0", "2-0"] {
            self.add("XADD", EVENTS, &[entry, "type", "a", "data", "1"]);
        }
        self.add("XGROUP", "CREATE", &[EVENTS, "members", "0"]);
        self.add("SET", &self.keys.unique("kind"), &["before 1"]);
    }
}

/// The stream of a topic.
pub(super) const EVENTS: &str = "redcall:{events:door}:events";

/// Fills an empty server.
pub(super) async fn fill(conn: &mut MultiplexedConnection, keys: &QueueKeys, state: State) {
    let mut writer = Writer { pipe: redis::pipe(), keys };
    let (now, _): (u64, u64) = redis::cmd("TIME").query_async(conn).await.unwrap();
    // A lease that ends more than an hour ahead counts as none.
    writer.plain(&((now + 3_000) * 1000).to_string());
    if state == State::Full {
        writer.full();
    }
    let () = writer.pipe.query_async(conn).await.unwrap();
}
