//! Unforeseen elements: random bytes, and envelopes with random faults.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::time::{SystemTime, UNIX_EPOCH};

use redcall_testkit::eventually;
use redis::AsyncCommands;

use crate::support::{DEAD, Foreign, QUEUE, dead_letters, is_registry, keys, waited};

/// Names the seed to replay.
const VARIABLE: &str = "REDCALL_TEST_SEED";

/// Knuth's MMIX generator: enough for faults, and replayed by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn byte(&mut self) -> u8 {
        // Often one that means something to a parser.
        const SPECIAL: &[u8] = b"{}[]\",:\\0e-. \n\xff\x00";
        match self.below(2) {
            0 => SPECIAL[self.below(SPECIAL.len())],
            _ => u8::try_from(self.below(256)).unwrap(),
        }
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let max = (length - start).min(20);
        start..start + self.below(max + 1)
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.below(200);
        (0..length).map(|_| self.byte()).collect()
    }

    /// A good envelope with one to four faults.
    fn envelope(&mut self, n: usize) -> Vec<u8> {
        let id = format!("fuzz-{n}");
        let rest = r#","budget_ms":30000,"enqueued_at":1,"v":1,"headers":{"a":"b"},"#.to_owned();
        let rest = rest + r#""notify":"redcall:{default}:notify:fuzz","response_ttl_ms":60000"#;
        let rest = &rest[..rest.len() * self.below(2)];
        let mut raw = waited(&id, "add", r#"{"a":1,"b":[1,{"c":"d"}]}"#, rest).into_bytes();
        for _ in 0..=self.below(4) {
            let (range, byte) = (self.range(raw.len()), self.byte());
            match self.below(5) {
                0 => drop(raw.drain(range)),
                1 => raw.insert(range.start, byte),
                2 => raw.truncate(range.start),
                3 => {
                    let part = raw[range.clone()].to_vec();
                    let to = self.below(raw.len() + 1);
                    raw.splice(to..to, part);
                }
                _ => raw[range].fill(byte),
            }
        }
        raw
    }
}

#[tokio::test]
async fn faulty_elements_leave_only_dead_letters_and_answers() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let seed = std::env::var(VARIABLE).ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or(u64::try_from(now % 1_000_000_000).unwrap());
    eprintln!("replay: {VARIABLE}={seed} cargo test -p redcall-tests --test suite fuzz::");
    let mut random = Random(seed);
    let mut foreign = Foreign::start().await;
    for round in 0..60 {
        // One by one to an idle worker, and in batches to a busy one.
        let count = if round % 2 == 0 { 1 } else { 9 };
        let elements: Vec<Vec<u8>> = (0..count)
            .map(|n| match random.below(3) {
                0 => random.noise(),
                _ => random.envelope(10 * round + n),
            })
            .collect();
        for element in &elements {
            eprintln!("{}", element.escape_ascii());
        }
        let () = foreign.conn.rpush(QUEUE, elements).await.unwrap();
        if round % 10 == 9 {
            let answer = foreign.client.call_and_wait("echo", &round).await.unwrap();
            assert_eq!(answer.data.get(), round.to_string());
        }
    }
    eventually("nothing to be queued, leased or parked", async || {
        let left = keys(&mut foreign.conn).await;
        let known = |key: &String| {
            is_registry(key) || key == DEAD || key.starts_with("redcall:{default}:response:")
        };
        left.iter().all(known).then_some(())
    })
    .await;
    for key in keys(&mut foreign.conn).await {
        let ttl: i64 = foreign.conn.pttl(&key).await.unwrap();
        if ttl == -2 {
            continue; // deleted since: our client has taken that answer
        }
        assert!(ttl > 0, "{key} has no TTL");
        if key.contains(":response:") {
            let frames: Vec<String> = foreign.conn.lrange(&key, 0, -1).await.unwrap();
            assert_eq!(frames.len(), 1, "{key}: {frames:?}");
            let () = foreign.conn.del(&key).await.unwrap();
        }
    }
    assert!(dead_letters(&mut foreign.conn).await.len() > 50);
    let () = foreign.conn.del(DEAD).await.unwrap();
    foreign.goes_on().await;
}
