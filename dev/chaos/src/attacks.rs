//! Carries out the plan. Each attack runs in a task of its own, so attacks can overlap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use redcall_store::embedded::EmbeddedError;
use redcall_testkit::Odds;
use rustix::process::Signal;
use tokio::sync::{OwnedMutexGuard, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::error::ChaosError;
use crate::history::{Affected, AttackEvent, AttackLine, Log, ReplyFault, Step, now_us};
use crate::plan::{Attack, Planned, Right};
use crate::report::Progress;
use crate::stage::Stage;
use crate::worker_pool::{Held, WorkerHandle, WorkerPool};

/// The pause between two searches for a worker to attack.
const SEARCH_PAUSE: Duration = Duration::from_millis(20);

/// Carries out the attacks of a plan.
#[derive(Clone)]
pub(crate) struct Attackers {
    pub(crate) stage: Arc<Stage>,
    pub(crate) pool: Arc<WorkerPool>,
    pub(crate) log: Arc<Log>,
    pub(crate) progress: watch::Sender<Progress>,
    /// After this fires, attacks that still search for a worker give up.
    pub(crate) end: CancellationToken,
}

impl Attackers {
    /// Carries out `plan`, until its end or `end`. Returns when everything is whole again.
    pub(crate) async fn carry_out(self, plan: Vec<Planned>) -> Result<(), ChaosError> {
        let began = Instant::now();
        let mut blows = JoinSet::new();
        for (number, planned) in plan.into_iter().enumerate() {
            tokio::select! {
                () = sleep_until(began + planned.at) => {}
                () = self.end.cancelled() => break,
            }
            let attackers = self.clone();
            blows.spawn(async move { attackers.strike(number, planned.attack).await });
            while let Some(done) = blows.try_join_next() {
                done.map_err(ChaosError::panicked)??;
            }
        }
        while let Some(done) = blows.join_next().await {
            done.map_err(ChaosError::panicked)??;
        }
        Ok(())
    }

    async fn strike(&self, number: usize, attack: Attack) -> Result<(), ChaosError> {
        match attack {
            Attack::Kill { step } => self.kill(number, step).await?,
            Attack::Stop { step, lasts } => self.stop(number, step, lasts).await,
            Attack::Restart { away } => self.restart(away).await?,
            Attack::Cut { whose } => {
                let young = self.stage.young().await;
                self.note(AttackEvent::Cut { whose, young });
                self.stage.cut(whose).await;
                self.progress.send_modify(|progress| progress.cuts += 1);
            }
            Attack::Delay { whose, max, lasts } => {
                let late = Odds { delay_one_in: 10, delay_up_to: max, ..Odds::default() };
                let odds = Odds { split_one_in: 3, ..late };
                self.spell(number, ReplyFault::Late, whose, odds, lasts).await;
            }
            Attack::Lose { whose, one_in, lasts } => {
                let odds = Odds { lose_one_in: one_in, ..Odds::default() };
                self.spell(number, ReplyFault::Lost, whose, odds, lasts).await;
            }
            Attack::Log { lasts } => self.unread_logs(lasts).await,
            Attack::Disk { lasts } => self.full_disk(lasts).await?,
            Attack::Right { right, lasts } => self.lacking(right, lasts).await?,
            Attack::Clock { ms, lasts } => self.clock(ms, lasts).await?,
        }
        Ok(())
    }

    async fn kill(&self, number: usize, step: Step) -> Result<(), ChaosError> {
        let Some((mut worker, Held { job, run })) = self.victim(number, step).await else {
            return Ok(());
        };
        let (at, pid) = (now_us(), worker.pid);
        worker.kill().await;
        let place = self.stage.place_of(&job).await;
        self.log.write(&AttackLine { at, what: AttackEvent::Kill { pid, job, run, step, place } });
        self.progress.send_modify(|progress| progress.kills += 1);
        *worker = self.pool.worker_handle().map_err(ChaosError::Worker)?;
        if worker.full_log {
            self.note(AttackEvent::FullLog { pid: worker.pid });
        }
        Ok(())
    }

    async fn stop(&self, number: usize, step: Step, lasts: Duration) {
        let Some((mut worker, Held { job, run })) = self.victim(number, step).await else { return };
        let (at, pid) = (now_us(), worker.pid);
        worker.signal(Signal::STOP);
        let place = self.stage.place_of(&job).await;
        self.log.write(&AttackLine { at, what: AttackEvent::Stop { pid, job, run, step, place } });
        sleep(lasts).await;
        // The time is read when the process continues: held jobs continue at once, before the
        // worker can learn that its lease is lost.
        worker.go().await;
        worker.signal(Signal::CONT);
        self.note(AttackEvent::Continue { pid });
        self.progress.send_modify(|progress| progress.stops += 1);
    }

    /// A worker, and the job that it is held at.
    async fn victim(
        &self,
        number: usize,
        step: Step,
    ) -> Option<(OwnedMutexGuard<WorkerHandle>, Held)> {
        let mut first = number;
        while !self.end.is_cancelled() {
            first += 1;
            let Some(mut worker) = self.pool.free(first) else {
                sleep(SEARCH_PAUSE).await;
                continue;
            };
            match worker.hold(step).await {
                Some(held) => return Some((worker, held)),
                None => {
                    self.note(AttackEvent::Missed);
                    // One that cannot be started now is tried again with the next order.
                    let _ = self.pool.start_again(&mut worker);
                    drop(worker);
                    sleep(SEARCH_PAUSE).await;
                }
            }
        }
        None
    }

    async fn restart(&self, away: Duration) -> Result<(), EmbeddedError> {
        let mut redis = self.stage.redis.lock().await;
        self.note(AttackEvent::RedisGone);
        tokio::task::block_in_place(|| redis.kill());
        sleep(away).await;
        redis.start_again().await?;
        self.note(AttackEvent::RedisBack);
        self.progress.send_modify(|progress| progress.restarts += 1);
        Ok(())
    }

    async fn spell(
        &self,
        number: usize,
        fault: ReplyFault,
        whose: Affected,
        odds: Odds,
        lasts: Duration,
    ) {
        self.note(AttackEvent::Spell { what: fault, whose });
        let of_lanes = self.stage.spell(whose, number as u64, odds, lasts).await;
        self.note(AttackEvent::SpellOver { what: fault, of_lanes });
        self.progress.send_modify(|progress| progress.spells += 1);
    }

    async fn unread_logs(&self, lasts: Duration) {
        self.note(AttackEvent::LogsUnread);
        self.pool.read_logs(false);
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            // If Redis is away, nothing is logged either.
            let _ = self.stage.give_to_log().await;
            sleep(SEARCH_PAUSE).await;
        }
        self.pool.read_logs(true);
        self.note(AttackEvent::LogsRead);
        self.progress.send_modify(|progress| progress.spells += 1);
    }

    /// Holds the lock of Redis, as `restart` does; so do the next two.
    async fn full_disk(&self, lasts: Duration) -> Result<(), ChaosError> {
        let _redis = self.stage.redis.lock().await;
        self.note(AttackEvent::DiskFull);
        self.stage.fill_disk().await?;
        sleep(lasts).await;
        self.stage.free_disk().await?;
        self.note(AttackEvent::DiskFree);
        self.progress.send_modify(|progress| progress.spells += 1);
        Ok(())
    }

    async fn lacking(&self, Right { taken, given }: Right, lasts: Duration) -> io::Result<()> {
        let _redis = self.stage.redis.lock().await;
        self.note(AttackEvent::RightTaken { right: taken.to_owned() });
        self.pool.lacks_a_right(true);
        self.stage.right(taken).await?;
        sleep(lasts).await;
        self.stage.right(given).await?;
        self.pool.lacks_a_right(false);
        self.note(AttackEvent::RightGiven);
        self.progress.send_modify(|progress| progress.spells += 1);
        Ok(())
    }

    async fn clock(&self, ms: i64, lasts: Duration) -> io::Result<()> {
        let Some(clock) = &self.stage.clock else { return Ok(()) };
        let _redis = self.stage.redis.lock().await;
        self.note(AttackEvent::ClockStepped { ms });
        clock.set(ms)?;
        sleep(lasts).await;
        clock.set(0)?;
        self.note(AttackEvent::ClockBack);
        self.progress.send_modify(|progress| progress.spells += 1);
        Ok(())
    }

    fn note(&self, blow: AttackEvent) {
        self.log.write(&AttackLine { at: now_us(), what: blow });
    }
}
