//! All Redis keys and channels, by name. No other file of the workspace builds one.
//!
//! Form: `{prefix}:{<queue>}:<part>`, the queue as hash tag, so that all keys of a job share a hash
//! slot and one script can settle it in a cluster.

mod bytes;

use std::sync::Arc;

use crate::rules::name::{SERVICE, is_id, is_instance, is_plain, is_queue};

/// The key names of one deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    /// Creates the keys with this `prefix` (the setting `redis.prefix`).
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Sorted set of queue names in use. The one key without a queue tag: no script but `note.lua`
    /// takes it, and that takes no other.
    #[must_use]
    pub fn queues(&self) -> String {
        format!("{}:queues", self.prefix)
    }

    /// Returns the keys of one queue.
    #[must_use]
    pub fn of(&self, queue: &str) -> QueueKeys {
        QueueKeys { base: format!("{}:{{{queue}}}", self.prefix).into(), queue: queue.into() }
    }

    /// Stream of the events of one topic, under a hash tag that no queue has.
    #[must_use]
    pub fn events(&self, topic: &str) -> String {
        format!("{}:{{events:{topic}}}:events", self.prefix)
    }

    /// The owner of the lease on a name, under a hash tag that no queue has.
    #[must_use]
    pub fn lease(&self, name: &str) -> String {
        format!("{}:{{lease:{name}}}:lease", self.prefix)
    }

    /// Returns a `SCAN` pattern that matches all keys of the deployment, and few others.
    #[must_use]
    pub fn pattern(&self) -> String {
        // A prefix has no characters with a meaning in patterns.
        format!("{}:*", self.prefix)
    }

    /// Returns a `SCAN` pattern that matches the keys of requests and dead letters of any queue,
    /// and some others. [`Keys::parse_queue`] distinguishes them.
    #[must_use]
    pub fn queue_pattern(&self) -> String {
        format!("{}:{{*}}:[qdspl]*", self.prefix)
    }

    /// Returns the part of a key after the opening brace of its hash tag, if it has our prefix.
    fn tagged<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&*self.prefix)?.strip_prefix(":{")
    }

    /// Returns the queue of a key with requests or dead letters, if `key` is one.
    #[must_use]
    pub fn parse_queue<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = self.tagged(key)?;
        let (queue, what) = rest.split_once("}:").filter(|(queue, _)| is_queue(queue))?;
        const HOLD: [&str; 7] =
            ["queue", "dead", "scheduled", "parked", "limited", "deferred", "live"];
        HOLD.contains(&what).then_some(queue)
    }

    /// Returns the bound of `key` by the table; `None` if it is not one of our keys.
    #[must_use]
    pub fn bound_of(&self, key: &str) -> Option<Bound> {
        if key == self.queues() {
            return Some(Bound::Ttl);
        }
        let rest = self.tagged(key)?;
        let topic = rest.strip_prefix("events:").and_then(|rest| rest.strip_suffix("}:events"));
        let lease = rest.strip_prefix("lease:").and_then(|rest| rest.strip_suffix("}:lease"));
        if topic.or(lease).is_some_and(is_plain) {
            return Some(Bound::Ttl);
        }
        let (_, what) = rest.split_once("}:").filter(|(queue, _)| is_queue(queue))?;
        let [_, _, bound, _] = row_of(what)?;
        Some(if bound.contains("TTL") { Bound::Ttl } else { Bound::Other })
    }

    /// Returns the queue and the request id of a response key, if it has that form.
    #[must_use]
    pub fn parse_response<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = self.tagged(key)?;
        let (queue, id) = rest.split_once("}:response:")?;
        (is_queue(queue) && is_id(id)).then_some((queue, id))
    }

    /// Returns the queue, the job name and the limit's key of a list of partitioned requests.
    #[must_use]
    pub fn parse_limited<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let rest = self.tagged(key)?;
        let (queue, rest) = rest.split_once("}:limited:")?;
        let (name, of) = rest.rsplit_once(':')?;
        is_queue(queue).then_some((queue, name, of))
    }

    /// Returns queue and instance of the key of a service's state.
    #[must_use]
    pub fn parse_state<'a>(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let rest = self.tagged(key)?;
        let (queue, rest) = rest.split_once("}:state")?;
        let instance = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
        (queue.starts_with(SERVICE) && is_queue(queue) && is_instance(instance))
            .then_some((queue, instance))
    }

    /// Returns `true` if a channel publishes states of jobs, not frames.
    #[must_use]
    pub fn is_status(channel: &[u8]) -> bool {
        let mut parts = channel.rsplitn(3, |byte| *byte == b':');
        parts.nth(1) == Some(b"status")
    }
}

/// The mechanism that bounds a key's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Its TTL.
    Ttl,
    /// Its content is removed by normal operation: accepted work, leases, dead letters.
    Other,
}

/// The keys of one queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueueKeys {
    base: Arc<str>,
    queue: Arc<str>,
}

macro_rules! fixed_keys {
    ($($(#[doc = $doc:literal])+ $name:ident = $what:literal;)+) => {
        $($(#[doc = $doc])+ #[must_use] pub fn $name(&self) -> String {
            [&*self.base, concat!(":", $what)].concat()
        })+
    };
}

macro_rules! keys_of {
    ($($(#[doc = $doc:literal])+ $name:ident($of:ident) = $what:literal;)+) => {
        $($(#[doc = $doc])+ #[must_use] pub fn $name(&self, $of: &str) -> String {
            [&*self.base, concat!(":", $what, ":"), $of].concat()
        })+
    };
}

impl QueueKeys {
    /// Returns the queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.queue
    }

    fixed_keys! {
        /// List of requests: pushed at the tail, popped from the head.
        queue = "queue";
        /// Stream of requests that could not be run or answered.
        dead = "dead";
        /// Hash of leased and deferred request ids, id to worker: another request with that id is
        /// refused.
        live = "live";
        /// Sorted set of worker ids by the Redis time (ms) at which their leases end.
        workers = "workers";
        /// Sorted set of job names by the Redis time (ms) until which a live worker handles them.
        names = "names";
        /// Set of names with parked requests.
        parked_names = "parked";
        /// Sorted set of the ids of scheduled requests, by the Redis time (ms) when they are due.
        schedule = "schedule";
        /// Hash of those requests, id to envelope.
        scheduled = "scheduled";
        /// Hash of the history of requests that were started more than once, id to record.
        attempts = "attempts";
        /// Sorted set of cancelled ids by the Redis time (ms) at which they expire.
        cancelled = "cancelled";
        /// Channel of messages to the queue's workers.
        control = "control";
        /// Empty; written by each client that waits for durability.
        durable = "durable";
        /// Exists while the queue is paused: since when, Redis time in ms.
        paused = "paused";
        /// Hash of recurring schedules, name to the Redis time (ms) of the last tick.
        ticks = "ticks";
        /// Hash of leased requests of limited names, id to the limit's key.
        permits = "permits";
        /// Hash of limited names with partitioned requests, name to their number.
        limited_names = "limited";
        /// Sorted set of deferred requests, by the Redis time (ms) of their deadline.
        deferred_ids = "deferred";
        /// Sorted set of limits whose rate allows no request before a Redis time (ms).
        throttled = "throttled";
        /// Hash of a sample of the keys with answers: the key without the queue's base, to the
        /// bytes that it represents.
        answers = "answers";
        /// Sorted set of workers with lanes, by the Redis time (ms) until which a pop of theirs may
        /// be served.
        lanes = "lanes";
        /// Exists while the answers kept are at their limit: since when, Redis time in ms.
        answers_full = "answers_full";
    }

    keys_of! {
        /// List of frames of one request.
        response(id) = "response";
        /// Channel on which one client receives frames.
        notify(client) = "notify";
        /// List to which a blocked pop of one worker moves requests.
        inbox(worker) = "inbox";
        /// Hash of one worker's leased requests, id to envelope.
        leases(worker) = "leases";
        /// One worker's own report, JSON.
        worker(worker) = "worker";
        /// List of requests that wait for a worker that handles their name.
        parked(name) = "parked";
        /// Set of the keys of a limited name that have partitioned requests.
        limit_keys(name) = "limit_keys";
        /// The results of one worker's last settling poll.
        poll(worker) = "poll";
        /// Hash of the call under one idempotency key, named by its digest.
        idem(digest) = "idem";
        /// The request that holds a uniqueness window, by its digest.
        unique(digest) = "unique";
        /// The record of one deferred request.
        deferred(id) = "deferred";
        /// The run that started a signed request.
        seen(id) = "seen";
        /// List of the states of one tracked job, and the channel that publishes them.
        status(id) = "status";
    }

    /// List of the requests in one of a worker's two lane inboxes: their place there is their
    /// lease.
    #[must_use]
    pub fn lane_inbox(&self, worker: &str, number: u8) -> String {
        format!("{}:inbox:{worker}:{number}", self.base)
    }

    /// The results of the last settlement of one of a worker's lane inboxes.
    #[must_use]
    pub fn lane_poll(&self, worker: &str, number: u8) -> String {
        format!("{}:poll:{worker}:{number}", self.base)
    }

    /// Hash of the state of one service instance; empty for the one without a key.
    #[must_use]
    pub fn state(&self, instance: &str) -> String {
        match instance {
            "" => format!("{}:state", self.base),
            _ => format!("{}:state:{instance}", self.base),
        }
    }

    /// List of the partitioned requests of a limited name with the limit's key `key`.
    #[must_use]
    pub fn limited(&self, name: &str, key: &str) -> String {
        format!("{}:limited:{name}:{key}", self.base)
    }

    /// The keys of the probes that one worker sends through its own polls: a separate queue, which
    /// no other worker serves and no list of queues shows, in the hash slot of this queue.
    #[must_use]
    pub fn probe(&self, worker: &str) -> Self {
        Self { base: format!("{}:probe:{worker}", self.base).into(), queue: self.queue.clone() }
    }

    /// Returns the service of the queue, if it is one of a service: its requests start in order.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.queue.strip_prefix(SERVICE).filter(|name| is_plain(name))
    }

    /// Returns the common prefix of the queue's keys, for scripts that build keys from ids.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns `true` if `key` is the response key of the request `id`.
    #[must_use]
    pub fn is_response(&self, key: &str, id: &str) -> bool {
        let own = key.strip_prefix(&*self.base).and_then(|rest| rest.strip_prefix(":response:"));
        own == Some(id)
    }

    /// Returns `true` if a request of this queue may name `channel`.
    #[must_use]
    pub fn is_notify(&self, channel: &str) -> bool {
        channel
            .strip_prefix(&*self.base)
            .and_then(|rest| rest.strip_prefix(":notify:"))
            .is_some_and(is_id)
    }
}

/// The rows of the table in docs/reference/keys.md: the part after the queue, type, bound, writers.
const TABLE: &[[&str; 4]] = &[
    ["queue", "list of requests", "`limits.max_length`", "callers, workers that return requests"],
    ["response:<id>", "list of frames", "TTL `response_ttl_ms`", "worker that holds the lease"],
    ["notify:<client>", "channel (sharded)", "not stored", "settling script"],
    ["dead", "stream", "`dead.max` entries, `dead.age`", "workers, `redcall dead`"],
    ["leases:<worker>", "hash id -> request", "that worker's capacity", "its worker"],
    ["inbox:<worker>", "list of requests", "one per blocked pop", "its worker"],
    ["inbox:<worker>:<n>", "list of requests", "256, that worker's capacity", "its worker"],
    ["lanes", "zset worker -> last pop, ms", "pruned each heartbeat, TTL 30 days", "workers"],
    ["live", "hash id -> worker", "leases, and deferred requests", "workers"],
    ["workers", "zset worker -> lease end, ms", "dead ones taken over, TTL 30 days", "workers"],
    ["worker:<worker>", "string, JSON", "TTL two leases", "its worker"],
    ["names", "zset name -> handled until, ms", "pruned each heartbeat, TTL 1 day", "workers"],
    ["parked", "set of names", "names with parked requests", "workers"],
    ["parked:<name>", "list of requests", "`limits.max_length`, with `queue`", "workers"],
    [
        "schedule",
        "zset id -> due, ms",
        "`limits.max_length`, with `queue`",
        "callers, workers that retry",
    ],
    ["scheduled", "hash id -> request", "as `schedule`", "callers, workers that retry"],
    ["attempts", "hash id -> record", "unsettled requests, TTL 30 days", "workers"],
    ["cancelled", "zset id -> forgotten, ms", "pruned each heartbeat, TTL", "callers"],
    ["control", "channel (sharded)", "not stored", "callers, workers"],
    ["paused", "string, since when, ms", "one", "`redcall pause`"],
    ["durable", "string, empty", "TTL 1 minute", "callers"],
    ["ticks", "hash schedule -> last tick, ms", "schedules, TTL 400 days", "workers"],
    ["poll:<worker>", "string", "TTL 1 minute", "its worker"],
    ["poll:<worker>:<n>", "string", "TTL 1 minute", "its worker"],
    ["idem:<digest>", "hash", "100 waiters, TTL `idempotency_ttl`", "callers, workers"],
    ["unique:<digest>", "string", "TTL `jobs.X.unique`", "workers"],
    ["seen:<id>", "string", "TTL 7 days; once it has ended, until its signature ends", "workers"],
    ["deferred", "zset id -> until, ms", "TTL latest deadline and 7 days", "workers"],
    ["deferred:<id>", "hash", "TTL deadline and 7 days", "workers, holders of the token"],
    [
        "status:<id>",
        "list of states; channel",
        "64 states, TTL `status_ttl_ms`",
        "callers, workers",
    ],
    ["permits", "hash id -> limit", "leases of limited names", "workers"],
    ["limited", "hash name -> number", "names with partitioned requests", "workers"],
    ["limited:<name>:<key>", "list of requests", "`limits.max_length`, with `queue`", "workers"],
    ["limit_keys:<name>", "set of keys", "keys with partitioned requests", "workers"],
    ["rotation:<name>", "list of keys", "keys with partitioned requests", "workers"],
    ["held:<name>", "set of keys", "keys with partitioned requests", "workers"],
    ["running:<name>:<key>", "set of ids", "leases of that key", "workers"],
    ["rate:<name>:<key>", "string", "TTL of its backlog", "workers"],
    ["throttled", "zset limit -> ready, ms", "keys with partitioned requests", "workers"],
    ["answers", "hash key -> bytes", "pruned each second, TTL 400 days", "workers, callers"],
    ["answers_full", "string, since when, ms", "TTL 10 s", "workers"],
    ["state", "hash state, version", "1 MiB, TTL `services.X.idle`", "workers"],
    ["state:<instance>", "hash state, version", "1 MiB, TTL `services.X.idle`", "workers"],
    ["probe:<worker>:…", "as the queue's own", "one probe, TTL 1 minute", "its worker"],
];

/// Returns the row of a key by its part after the queue.
fn row_of(what: &str) -> Option<&'static [&'static str; 4]> {
    let (head, has_arg) =
        what.split_once(':').map_or((what, false), |(head, arg)| (head, !arg.is_empty()));
    TABLE.iter().find(|[row, kind, ..]| {
        let (row, takes_arg) = row.split_once(':').map_or((*row, false), |(head, _)| (head, true));
        row == head && takes_arg == has_arg && !kind.starts_with("channel")
    })
}

/// Returns the type that the key of a queue has at Redis, as `TYPE` names it; `None` if it is not
/// one of our keys. The prefix is not checked.
#[must_use]
pub fn type_of(key: &str) -> Option<&'static str> {
    let (_, what) = key.split_once(":{")?.1.split_once("}:")?;
    let kind = row_of(what)?[1].split([' ', ',', ';']).next()?;
    ["hash", "list", "set", "stream", "string", "zset"].into_iter().find(|known| *known == kind)
}

/// Returns the keys as the markdown table of docs/reference/keys.md.
#[must_use]
pub fn table() -> String {
    let mut out =
        String::from("| key | is | bound | bytes at most | written by |\n|---|---|---|---|---|\n");
    for [what, kind, bound, writers] in TABLE {
        let bytes = bytes::of(what);
        let key = format!("redcall:{{queue}}:{what}");
        out.push_str(&format!("| `{key}` | {kind} | {bound} | {bytes} | {writers} |\n"));
    }
    out.push_str(
        "| `redcall:{events:TOPIC}:events` | stream | `events.max` entries, TTL `events.age` | \
         `events.max_bytes`, or its newest entry | publishers |\n",
    );
    out.push_str(
        "| `redcall:{lease:NAME}:lease` | string, owner | TTL of the lease | 200 | its owner |\n",
    );
    out.push_str(
        "| `redcall:queues` | zset queue -> last used, ms | 10,000 names, TTL 30 days | 2 MiB | \
         all |\n",
    );
    out
}

#[cfg(test)]
mod tests;
