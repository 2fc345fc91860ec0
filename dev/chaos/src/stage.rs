//! The private Redis of a run, and the two roads to it that can be broken.

mod clock;
mod orders;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::SteppingClock;
pub(crate) use clock::VARIABLE as LIBFAKETIME;

use redcall_common::keys::Keys;
use redcall_common::settings::RedisSettings;
use redcall_store::embedded::{Embedded, EmbeddedOptions, find_server};
use redcall_testkit::{FaultProxy, Odds};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::error::ChaosError;
use crate::history::{Affected, Place};
use crate::work::QUEUES;

/// How many requests are pushed at a time, each worth a line of a worker's log.
const LOGGED: u32 = 20;
/// How long a save may take to fail.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);
const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// Returns where the request is that contains ARGV 1.
const PLACE_OF: &str = "
for _, key in ipairs(redis.call('KEYS', '*:inbox:*:[01]')) do
  local raws = redis.call('LRANGE', key, 0, -1)
  for _, raw in ipairs(raws) do
    if string.find(raw, ARGV[1], 1, true) then return #raws > 1 and 'batch' or 'young' end
  end
end
for _, key in ipairs(redis.call('KEYS', '*:leases:*')) do
  for _, raw in ipairs(redis.call('HVALS', key)) do
    if string.find(raw, ARGV[1], 1, true) then return 'leased' end
  end
end
return 'elsewhere'";
/// Returns the number of requests in lane inboxes.
const YOUNG: &str = "
local young = 0
for _, key in ipairs(redis.call('KEYS', '*:inbox:*:[01]')) do
  young = young + redis.call('LLEN', key)
end
return young";

/// Where a run takes place.
pub(crate) struct Stage {
    // The roads first: they lead to the server.
    callers: FaultProxy,
    workers: FaultProxy,
    /// An attack that kills the server holds the lock until the server is back.
    pub(crate) redis: Mutex<Embedded>,
    /// The server's own socket, without a fault proxy.
    pub(crate) socket: PathBuf,
    /// The server's clock, if it can be stepped.
    pub(crate) clock: Option<SteppingClock>,
    /// The file that the server saves to.
    dump: PathBuf,
    /// One spell at a time: the end of one would end the other.
    spell: Mutex<()>,
}

impl Stage {
    /// Starts a server that has written every command to its disk before it answers.
    ///
    /// If `clock`, and libfaketime is installed, its clock can be stepped. `folder` is the run's.
    pub(crate) async fn start(clock: bool, folder: &Path) -> Result<Self, ChaosError> {
        let mut program = find_server()?.path;
        let clock = if clock { SteppingClock::find(&program, folder).await? } else { None };
        if let Some(clock) = &clock {
            program.clone_from(&clock.program);
        }
        let extra_args = ["--appendfsync", "always"].map(str::to_owned).to_vec();
        let options = EmbeddedOptions { append_only: true, extra_args, program: Some(program) };
        let redis = Embedded::start(options).await?;
        let (socket, dump) = (redis.dir().join("r.sock"), redis.dir().join("dump.rdb"));
        let road = || FaultProxy::start_at(socket.clone(), RedisSettings::default());
        let (callers, workers) = (road(), road());
        // Each command of a lane names one of its two inboxes.
        workers.count_met(|exchange| {
            exchange.request_contains(":inbox:")
                && (exchange.request_contains(":0\r\n") || exchange.request_contains(":1\r\n"))
        });
        let (redis, spell) = (Mutex::new(redis), Mutex::default());
        Ok(Self { callers, workers, redis, socket, clock, dump, spell })
    }

    /// The address for callers.
    pub(crate) fn for_callers(&self) -> String {
        self.callers.url()
    }

    /// The address for workers.
    pub(crate) fn for_workers(&self) -> String {
        self.workers.url()
    }

    pub(crate) async fn cut(&self, whose: Affected) {
        for road in self.roads(whose) {
            road.cut().await;
        }
    }

    /// Returns where the request of a job is, read past every fault.
    pub(crate) async fn place_of(&self, job: &str) -> Place {
        let place = self.order(&["EVAL", PLACE_OF, "0", &format!("\"job\":\"{job}\"")]).await;
        match place.as_deref() {
            Ok("young") => Place::Young,
            Ok("batch") => Place::Batch,
            Ok("leased") => Place::Leased,
            _ => Place::Elsewhere,
        }
    }

    /// Returns how many requests are in lane inboxes.
    pub(crate) async fn young(&self) -> u64 {
        let young = self.order(&["EVAL", YOUNG, "0"]).await;
        young.ok().and_then(|young| young.parse().ok()).unwrap_or(0)
    }

    /// Delays or drops replies at random. Returns how many replies to the workers' lanes it met.
    pub(crate) async fn spell(
        &self,
        whose: Affected,
        seed: u64,
        odds: Odds,
        lasts: Duration,
    ) -> u64 {
        let _alone = self.spell.lock().await;
        let met = || self.workers.met();
        let before = met();
        for road in self.roads(whose) {
            road.misbehave(seed, odds);
        }
        tokio::time::sleep(lasts).await;
        for road in self.roads(whose) {
            road.pass();
        }
        met() - before
    }

    /// Makes a save fail, so that the server refuses writes: a folder takes the place of its file.
    pub(crate) async fn fill_disk(&self) -> io::Result<()> {
        std::fs::create_dir(&self.dump)?;
        self.order(&["CONFIG", "SET", "save", "3600 1"]).await?;
        self.order(&["BGSAVE"]).await?;
        let failed = async {
            let failed = "rdb_last_bgsave_status:err";
            while !self.order(&["INFO", "persistence"]).await?.contains(failed) {
                sleep(CHECK_PAUSE).await;
            }
            Ok(())
        };
        timeout(FAILOVER_TIMEOUT, failed).await?
    }

    /// Switches saving off, so that the server takes writes again.
    pub(crate) async fn free_disk(&self) -> io::Result<()> {
        self.order(&["CONFIG", "SET", "save", ""]).await?;
        std::fs::remove_dir(&self.dump)
    }

    /// Takes a right from all callers and workers, or gives it back.
    pub(crate) async fn right(&self, rule: &str) -> io::Result<()> {
        self.order(&["ACL", "SETUSER", "default", rule]).await.map(drop)
    }

    /// Pushes requests that each make a worker write a line to its log.
    pub(crate) async fn give_to_log(&self) -> io::Result<()> {
        let queue = Keys::new("redcall").of(QUEUES[1]).queue();
        let requests: Vec<String> = (0..LOGGED)
            .map(|_| format!(r#"{{"id":"l{:x}","name":"nosuch","data":1}}"#, fastrand::u64(..)))
            .collect();
        let mut words = vec!["RPUSH", &queue];
        words.extend(requests.iter().map(String::as_str));
        self.order(&words).await.map(drop)
    }

    async fn order(&self, words: &[&str]) -> io::Result<String> {
        orders::order(&self.socket, words).await
    }

    fn roads(&self, whose: Affected) -> impl Iterator<Item = &FaultProxy> {
        let callers = (whose != Affected::Workers).then_some(&self.callers);
        let workers = (whose != Affected::Callers).then_some(&self.workers);
        callers.into_iter().chain(workers)
    }
}
