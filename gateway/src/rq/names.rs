//! The names of python-rpc and rq.

/// The status of a job that was answered, in rq.
pub(super) const FINISHED: &str = "finished";
/// The status of a job that ended with an error, or was refused.
pub(super) const FAILED: &str = "failed";

/// The key of the data in the envelope of a call.
pub(super) const DATA: &str = "data";
/// The key of the call's id in its envelope.
pub(super) const ID: &str = "id";
/// The key of the response key in the envelope; none if the caller does not wait.
pub(super) const RESPONSE_KEY: &str = "response_key";

/// Returns the idempotency key of a job: all gateways that ever take it join one call.
pub(super) fn idempotency_key(job: &str) -> String {
    format!("rq:{job}")
}

/// Returns `true` for a UUID in lower case, as python-rpc makes response keys. Any other key could
/// be another program's, to which a caller must not have a worker write.
pub(super) fn is_response_key(key: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    key.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && key.split('-').all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_key_is_a_uuid_in_lower_case() {
        assert!(is_response_key("11111111-2222-4333-8444-555555555555"));
        assert!(is_response_key("deadbeef-dead-beef-dead-beefdeadbeef"));
        for wrong in [
            "",
            "redcall:{default}:queue",
            "rq:queue:default",
            "DEADBEEF-dead-beef-dead-beefdeadbeef",
            "11111111-2222-4333-8444-55555555555",
            "11111111-2222-4333-8444-5555555555555",
            "11111111-2222-4333-8444-555555555555-",
            "11111111222243338444555555555555",
            "{1111111-2222-4333-8444-555555555555",
            "11111111-2222-4333-8444-55555555555\n",
        ] {
            assert!(!is_response_key(wrong), "{wrong}");
        }
    }
}
