//! The private Redis of a run, and the two roads to it that can be broken.

use std::path::PathBuf;
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use redcall_common::store::embedded::{Embedded, EmbeddedError, EmbeddedOptions};
use redcall_testkit::{FaultProxy, Odds};
use tokio::sync::Mutex;

use crate::history::Whose;

/// Where a run takes place.
pub(crate) struct Stage {
    // The roads first: they lead to the server.
    callers: FaultProxy,
    workers: FaultProxy,
    /// Whoever kills it has it for himself until it is back.
    pub(crate) redis: Mutex<Embedded>,
    /// The server's own socket, which no fault befalls.
    pub(crate) socket: PathBuf,
    /// One spell at a time: the end of one would end the other.
    spell: Mutex<()>,
}

impl Stage {
    /// Starts a server that has written every command to its disk before it answers.
    pub(crate) async fn start() -> Result<Self, EmbeddedError> {
        let extra_args = ["--appendfsync", "always"].map(str::to_owned).to_vec();
        let options = EmbeddedOptions { append_only: true, extra_args, ..Default::default() };
        let redis = Embedded::start(options).await?;
        let socket = redis.dir().join("r.sock");
        let road = || FaultProxy::start_at(socket.clone(), RedisSettings::default());
        let (callers, workers) = (road(), road());
        Ok(Self { callers, workers, redis: Mutex::new(redis), socket, spell: Mutex::default() })
    }

    /// The address for callers.
    pub(crate) fn for_callers(&self) -> String {
        self.callers.url()
    }

    /// The address for workers.
    pub(crate) fn for_workers(&self) -> String {
        self.workers.url()
    }

    pub(crate) async fn cut(&self, whose: Whose) {
        for road in self.roads(whose) {
            road.cut().await;
        }
    }

    /// Lets chance befall replies for a while.
    pub(crate) async fn spell(&self, whose: Whose, seed: u64, odds: Odds, lasts: Duration) {
        let _alone = self.spell.lock().await;
        for road in self.roads(whose) {
            road.misbehave(seed, odds);
        }
        tokio::time::sleep(lasts).await;
        for road in self.roads(whose) {
            road.pass();
        }
    }

    fn roads(&self, whose: Whose) -> impl Iterator<Item = &FaultProxy> {
        let callers = (whose != Whose::Workers).then_some(&self.callers);
        let workers = (whose != Whose::Callers).then_some(&self.workers);
        callers.into_iter().chain(workers)
    }
}
