//! `trim.lua`: the frames that readers of a stream drop.

use redcall_store::AnswerOps as _;
use redis::AsyncCommands;

use super::{Store, TIMEOUT};

/// A frame as workers write it.
fn frame(attempt: u32, seq: u64) -> String {
    let key = "redcall:{q}:response:a";
    let start = format!(r#"{{"id":"a","response_key":"{key}","type":"chunk","#);
    start + &format!(r#""seq":{seq},"attempt":{attempt},"data":{{"seq":77}}}}"#)
}

impl Store {
    /// Puts these frames at the key, first those of attempt 1, in place of others.
    async fn lie(&mut self, frames: &[String]) {
        let key = self.keys.response("a");
        let () = self.conn.del(&key).await.unwrap();
        let () = self.conn.rpush(&key, frames).await.unwrap();
    }

    async fn trim(&self, attempt: u32, seq: u64) -> Option<(u32, u64)> {
        self.link.trim(&self.keys.response("a"), (attempt, seq), 0, TIMEOUT).await.unwrap()
    }
}

#[tokio::test]
async fn read_frames_are_trimmed_once_except_the_last() {
    let mut store = Store::new().await;
    let frames: Vec<String> = (1..=6).map(|seq| frame(1, seq)).collect();
    store.lie(&frames).await;
    assert_eq!(store.trim(1, 4).await, Some((1, 4)));
    assert_eq!(store.frames("a").await, frames[3..]);
    // Another reader has had less, or the same call comes again.
    for seq in [1, 4] {
        assert_eq!(store.trim(1, seq).await, Some((1, 4)));
    }
    assert_eq!(store.trim(1, 6).await, Some((1, 6)));
    assert_eq!(store.frames("a").await, frames[5..]);
}

#[tokio::test]
async fn earlier_attempts_go_and_later_ones_stay() {
    let mut store = Store::new().await;
    let frames = [frame(0, 0), frame(1, 1), frame(1, 2), frame(2, 1), frame(2, 2)];
    store.lie(&frames).await;
    assert_eq!(store.trim(1, 1).await, Some((1, 1)));
    assert_eq!(store.trim(2, 1).await, Some((2, 1)));
    assert_eq!(store.frames("a").await, frames[3..]);
    assert_eq!(store.trim(1, 9).await, Some((2, 1)));
    assert_eq!(store.frames("a").await, frames[3..]);
}

#[tokio::test]
async fn foreign_frames_are_skipped_and_empty_keys_stay_absent() {
    let mut store = Store::new().await;
    let foreign = r#"{"attempt":1,"seq":3,"type":"chunk","id":"a"}"#.to_owned();
    store.lie(&["{".to_owned(), "[]".to_owned(), foreign.clone(), frame(1, 4)]).await;
    assert_eq!(store.trim(1, 3).await, Some((1, 3)));
    assert_eq!(store.frames("a").await, [foreign, frame(1, 4)]);
    let () = store.conn.del(store.keys.response("a")).await.unwrap();
    assert_eq!(store.trim(1, 3).await, None);
    assert_eq!(store.all_keys().await, [""; 0]);
}
