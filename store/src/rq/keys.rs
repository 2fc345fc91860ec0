//! The keys at rq's Redis.
//!
//! The gateway's own keys begin with `{prefix}-gateway:`: rq's Redis may be Redcall's too, and no
//! key of Redcall begins so.

/// The longest id of a job, bytes: an idempotency key is made of it. rq's own ids have 36.
pub const MAX_JOB_ID: usize = 200;

/// The beginning of the keys of jobs.
pub(super) const JOBS: &str = "rq:job:";

/// The set of all queues.
pub(super) const QUEUES: &str = "rq:queues";

/// The keys that all gateways of one name share.
#[derive(Debug, Clone)]
pub struct RqKeys {
    own: String,
}

impl RqKeys {
    /// Names the keys of the gateways `name`; `prefix` is the setting `redis.prefix`. Gateways take
    /// over jobs of others with the same name only, since those have the same settings.
    #[must_use]
    pub fn new(prefix: &str, name: &str) -> Self {
        Self { own: format!("{prefix}-gateway:rq:{name}:") }
    }

    /// The gateways, with the ends of their leases. Sorted set, no TTL: one member per running
    /// gateway and per ended one whose inbox holds jobs.
    pub(super) fn gateways(&self) -> String {
        format!("{}gateways", self.own)
    }

    /// The beginning of the keys of inboxes.
    pub(super) fn inboxes(&self) -> String {
        format!("{}inbox:", self.own)
    }

    /// The jobs of calls without an answer that Redcall does not accept now. List, no TTL: the jobs
    /// that would otherwise be in rq's queues.
    pub(super) fn later(&self) -> String {
        format!("{}later", self.own)
    }

    /// The jobs that the gateway `id` has taken and not ended. List, no TTL: at most the gateway's
    /// `concurrency`, or jobs would be lost with it.
    pub(super) fn inbox(&self, id: &str) -> String {
        self.inboxes() + id
    }
}

/// A job: hash with `data`, `status` and others. Written by rq's callers and workers; a gateway
/// writes `status` and its own field `redcall_taken_at`.
pub(super) fn job(id: &str) -> String {
    format!("{JOBS}{id}")
}

/// A queue: list of ids of jobs.
pub(super) fn queue(name: &str) -> String {
    format!("rq:queue:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_begin_with_no_prefix_of_redcall() {
        let keys = RqKeys::new("redcall", "python-rpc");
        assert_eq!(keys.gateways(), "redcall-gateway:rq:python-rpc:gateways");
        assert_eq!(keys.inbox("a"), "redcall-gateway:rq:python-rpc:inbox:a");
        assert_eq!(keys.later(), "redcall-gateway:rq:python-rpc:later");
        assert!(!keys.gateways().starts_with("redcall:"));
    }
}
