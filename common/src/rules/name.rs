//! The form of ids, job names and queue names.
//!
//! Form only: the worker resolves names.

use uuid::Uuid;

/// The longest id of a request or client, in characters.
pub const MAX_ID: usize = 64;

/// The longest name of a recurring schedule, in characters.
pub const MAX_SCHEDULE: usize = 40;

/// The longest job name, in characters.
pub const MAX_NAME: usize = 128;

/// Returns `true` if `id` is 1 to 64 characters of `[A-Za-z0-9_-]`, the form of request and client
/// ids.
#[must_use]
pub fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Returns `true` if `name` is 1 to 128 characters without spaces and control characters.
#[must_use]
pub fn is_job_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_NAME
        && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// The prefix of the queue name of a service; the service's name follows.
pub const SERVICE: &str = "service:";

/// Returns `true` if `queue` is 1 to 64 characters of `[A-Za-z0-9_.-]`, or the queue of a service:
/// `service:` and a name of that form.
#[must_use]
pub fn is_queue(queue: &str) -> bool {
    is_plain(queue.strip_prefix(SERVICE).unwrap_or(queue))
}

/// Returns `true` if `name` is 1 to 64 characters of `[A-Za-z0-9_.-]`, the form of names of queues,
/// services and topics.
///
/// Braces would break the hash tag, colons the parsing of keys.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    (1..=MAX_ID).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Returns the queue of a service's requests.
#[must_use]
pub fn service_queue(service: &str) -> String {
    format!("{SERVICE}{service}")
}

/// Returns `true` if `instance` is up to 64 characters of `[A-Za-z0-9_.@-]`; empty is the instance
/// without a key.
#[must_use]
pub fn is_instance(instance: &str) -> bool {
    let is_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@');
    instance.len() <= MAX_ID && instance.bytes().all(is_ok)
}

/// Returns `true` if `name` is 1 to 40 characters of `[A-Za-z0-9_-]`: with a time it forms an id.
#[must_use]
pub fn is_schedule(name: &str) -> bool {
    name.len() <= MAX_SCHEDULE && is_id(name)
}

/// Returns `true` if `key` is 1 to 256 characters.
#[must_use]
pub fn is_idempotency_key(key: &str) -> bool {
    (1..=256).contains(&key.chars().count())
}

/// Returns a new id that sorts by time (UUID v7).
#[must_use]
pub fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// Parses the name of a queue, for flags.
///
/// # Errors
///
/// The expected form, if `text` is not a valid name.
pub fn parse_queue(text: &str) -> Result<String, String> {
    if is_queue(text) {
        return Ok(text.to_owned());
    }
    Err("expected a queue name: 1 to 64 of [A-Za-z0-9_.-]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_judged_by_form() {
        assert!(is_id(&new_id()));
        assert!(is_id("A_b-9") && !is_id("") && !is_id("a:b") && !is_id(&"x".repeat(65)));
        assert!(is_job_name("größe.ändern") && !is_job_name("a b") && !is_job_name(""));
        assert!(is_schedule(&"x".repeat(40)) && !is_schedule(&"x".repeat(41)));
        assert!(is_queue("high.v2") && !is_queue("a{b}") && !is_queue("a:b"));
        assert!(is_queue("service:a.b") && !is_queue("service:") && !is_queue("service:service:a"));
        assert!(is_instance("") && is_instance("a@b.c") && !is_instance("a:b"));
    }
}
