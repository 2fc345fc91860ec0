//! Response keys that were read: they are deleted along with a push, several at once.

use std::sync::Arc;

use redcall_common::keys::QueueKeys;

/// So many keys, or bytes of answers, are worth a command.
pub(super) const TOGETHER: usize = 8;
const TOGETHER_BYTES: usize = 64 << 10;
/// The maximum that is kept.
pub(super) const KEYS_MAX: usize = 256;
const BYTES_MAX: usize = 1 << 20;

/// See the module. Their answers use memory in Redis.
#[derive(Default)]
pub(super) struct Forgotten {
    keys: Vec<Key>,
    /// Bytes of their answers.
    bytes: usize,
}

struct Key {
    queue: Arc<QueueKeys>,
    key: String,
    bytes: usize,
}

impl Forgotten {
    /// Keeps the key of an answer of so many bytes; returns `false` if there are too many.
    pub(super) fn keep(&mut self, queue: &Arc<QueueKeys>, key: &str, bytes: usize) -> bool {
        let fits = self.keys.len() < KEYS_MAX && self.bytes + bytes <= BYTES_MAX;
        if fits {
            self.keys.push(Key { queue: queue.clone(), key: key.to_owned(), bytes });
            self.bytes += bytes;
        }
        fits
    }

    /// Takes the keys of this queue if they are worth a command.
    pub(super) fn take_along(&mut self, queue: &QueueKeys) -> Vec<String> {
        match self.keys.len() >= TOGETHER || self.bytes >= TOGETHER_BYTES {
            true => self.take_of(queue),
            false => Vec::new(),
        }
    }

    /// Takes all keys of one queue; `None` if there are none.
    pub(super) fn take_next(&mut self) -> Option<(Arc<QueueKeys>, Vec<String>)> {
        let queue = self.keys.first()?.queue.clone();
        let keys = self.take_of(&queue);
        Some((queue, keys))
    }

    fn take_of(&mut self, queue: &QueueKeys) -> Vec<String> {
        let own = self.keys.extract_if(.., |one| one.queue.name() == queue.name());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for key in own {
            taken.push(key.key);
            bytes += key.bytes;
        }
        self.bytes -= bytes;
        taken
    }
}

#[cfg(test)]
mod tests {
    use redcall_common::keys::Keys;

    use super::*;

    fn queue(name: &str) -> Arc<QueueKeys> {
        Arc::new(Keys::new("redcall").of(name))
    }

    #[test]
    fn push_takes_several_keys_of_its_queue_or_a_large_one() {
        let ([a, b], mut forgotten) = (["a", "b"].map(queue), Forgotten::default());
        for n in 1..TOGETHER {
            assert!(forgotten.keep(&a, &n.to_string(), 10));
        }
        assert!(forgotten.take_along(&a).is_empty());
        forgotten.keep(&b, "other", 10);
        assert_eq!(forgotten.take_along(&a).len(), TOGETHER - 1);
        assert!(forgotten.take_along(&b).is_empty(), "one of ten bytes");
        forgotten.keep(&b, "large", TOGETHER_BYTES);
        assert_eq!(forgotten.take_along(&b), ["other", "large"]);
        assert!(forgotten.take_next().is_none() && forgotten.bytes == 0);
    }

    #[test]
    fn number_and_size_of_kept_keys_are_bounded() {
        let (a, mut forgotten) = (queue("a"), Forgotten::default());
        assert!(!forgotten.keep(&a, "too large", BYTES_MAX + 1));
        for n in 0..KEYS_MAX {
            assert!(forgotten.keep(&a, &n.to_string(), 1));
        }
        assert!(!forgotten.keep(&a, "one more", 1));
        assert_eq!(forgotten.take_next().unwrap().1.len(), KEYS_MAX);
        assert!(forgotten.keep(&a, "again", BYTES_MAX));
    }
}
