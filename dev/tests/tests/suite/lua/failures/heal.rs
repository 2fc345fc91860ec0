//! Healthy workers: they take over from all others, and run all requests.

use std::time::Duration;

use redcall_common::settings::Limit;
use redcall_store::{
    AnswerOps as _, EndedCall, HeartbeatRequest, LimitRule, Outcome, PollOps as _, QueuePoll,
    Settlement, UpkeepOps as _, WorkerKeys,
};
use redis::AsyncCommands;

use super::super::{LONG, TIMEOUT};
use super::fill::{frame, reply};
use super::places::Places;
use super::world::{Contents, World};

/// More rounds than any state needs. A heartbeat checks some of the live ids each time.
const ROUNDS: u64 = 14;

impl World {
    /// Runs all that there is.
    pub(super) async fn heal(&mut self) {
        let keys = self.keys.clone();
        let () = self.conn.del(keys.paused()).await.unwrap();
        let own = WorkerKeys::new(keys, "healer", 1000, Duration::from_secs(3600));
        let mut outcomes: Vec<Outcome> = Vec::new();
        let names = ["add", "lim", "elsewhere", "away"].map(str::to_owned);
        for serial in 0..ROUNDS {
            self.pass_time().await;
            let beat =
                HeartbeatRequest { worker: "healer", lease: LONG, info: "{}", names: &names };
            let link = &self.healthy.link;
            let received = link.heartbeat(&self.keys, &beat, TIMEOUT).await.unwrap();
            for worker in &received.dead {
                link.release(&self.keys, worker, false, TIMEOUT).await.unwrap();
            }
            link.promote(&self.keys, TIMEOUT).await.unwrap();
            let parked: Vec<String> = received.parked.into_iter().map(|(name, _)| name).collect();
            let limit = Limit { key: Some("k".to_owned()), concurrency: Some(1), rate: None };
            let rules = [LimitRule { name: "lim".to_owned(), limit, room: None }];
            let poll = QueuePoll {
                outcomes: &outcomes,
                parked: &parked,
                rules: &rules,
                serial,
                ..QueuePoll::take(&own, 100)
            };
            let reply = link.poll(&[poll], TIMEOUT).await.unwrap().remove(0).unwrap();
            let contents = self.contents().await;
            if reply.leased.is_empty() && Places::read(&contents, self.keys.base()).is_all_done() {
                return;
            }
            self.settle_deferred(&contents).await;
            outcomes.clear();
            for leased in reply.leased {
                outcomes.push(self.run(&leased.id, &contents));
                self.runs.push(leased.id);
            }
        }
    }

    /// Ends the leases of all other workers; all waiting times have passed.
    async fn pass_time(&mut self) {
        let keys = [self.keys.workers(), self.keys.schedule(), self.keys.throttled()];
        let mut script = redis::cmd("EVAL");
        script.arg(include_str!("pass.lua")).arg(keys.len()).arg(&keys);
        let () = script.query_async(&mut self.conn).await.unwrap();
    }

    async fn settle_deferred(&self, contents: &Contents) {
        for (key, fields) in contents {
            let Some((_, id)) = key.split_once(":deferred:") else { continue };
            if !fields.iter().step_by(2).any(|field| field == "raw") {
                continue;
            }
            let token = format!("token-{id}");
            let tail = r#","type":"result","seq":1,"attempt":1,"data":"settled"}"#;
            let (of, end) = ((id, token.as_str(), "healer"), (tail, None, false));
            self.healthy.link.settle_deferred(&self.keys, of, end, TIMEOUT).await.unwrap();
        }
    }

    /// Runs a request: how that ends.
    fn run(&self, id: &str, contents: &Contents) -> Outcome {
        let frame = frame(&self.keys, id, "healer");
        let mut call = None;
        for (key, fields) in contents {
            let Some((_, digest)) = key.split_once(":idem:") else { continue };
            let of = |name: &str| fields.chunks_exact(2).find(|field| field[0] == name);
            let runs = of("id").is_some_and(|runs| runs[1] == id);
            if runs && of("tail").is_none() {
                call =
                    Some(EndedCall { digest: digest.to_owned(), keep: None, frame: frame.clone() });
            } else if !runs && of(&format!("w:{id}")).is_some() {
                // It has joined the call of another one, and ends with that.
                return Outcome::new(id, Settlement::Done);
            }
        }
        let settlement = Settlement::Answer { reply: reply(&self.keys, id), frame };
        Outcome { call, ..Outcome::new(id, settlement) }
    }
}
