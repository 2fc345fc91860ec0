//! A supervised connection: one task owns it, reconnects it, renews its subscriptions.
//!
//! `MultiplexedConnection` never reconnects by itself, and redis-rs's manager does not know
//! sharded subscriptions. Whoever uses a link asks it for the connection of the moment and
//! reports when that one broke.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryFutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connection::{Connector, Peer, hedged};
use super::error::StoreError;
use super::script::{self, Script};
use redcall_common::time::millis;

/// How often the time is asked for: clocks drift, and a half-open connection is found.
const ASK_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Called with channel and payload of each message on a subscribed channel. Must not block.
pub type Sink = Arc<dyn Fn(&[u8], &[u8]) + Send + Sync>;

#[derive(Clone)]
enum State {
    Down(Option<StoreError>),
    /// The supervising task has gone, with its runtime: no connection comes any more.
    Ended,
    Up {
        conn: MultiplexedConnection,
        peer: Peer,
        generation: u64,
        /// Raised by whoever saw this very connection break; an older one's end means nothing.
        broken: Arc<Notify>,
    },
}

/// Which connection of a [`Link`] stands, and to which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    peer: Peer,
    generation: u64,
}

impl Standing {
    /// Whether both lead to the same server, as far as Sentinels know.
    #[must_use]
    pub fn is_with(&self, other: &Self) -> bool {
        self.peer == other.peer
    }
}

struct Shared {
    connector: Connector,
    sink: Sink,
    /// Written by the supervising task, read by everyone.
    state: watch::Sender<State>,
    /// Written by `subscribe` and `unsubscribe`; read by the supervising task on a new connection.
    /// Never held over an await: whoever waits for a connection must not keep it from coming.
    channels: Mutex<HashSet<String>>,
    /// Redis time minus this process's monotonic time, ms. Written whenever TIME has been read.
    clock_offset_ms: AtomicI64,
}

/// A connection that comes back by itself. Dropping the link ends it.
pub struct Link {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Link {
    /// Connects, and keeps connected from then on. Spawns the supervising task.
    ///
    /// # Errors
    ///
    /// That of the first attempt; later ones are retried for ever.
    pub async fn connect(connector: Connector, sink: Sink) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            connector,
            sink,
            state: watch::Sender::new(State::Down(None)),
            channels: Mutex::default(),
            clock_offset_ms: AtomicI64::new(0),
        });
        let id = shared.establish(1, None).await?;
        let ends = Ends(shared.clone());
        let supervisor = tokio::spawn(async move { supervise(&ends.0, id).await });
        Ok(Self { shared, supervisor })
    }

    /// Redis time, ms since the epoch, as last measured; steps of the local clock do not matter.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let offset = self.shared.clock_offset_ms.load(Ordering::Relaxed);
        monotonic_ms().saturating_add_signed(offset)
    }

    /// How long it is until `at_ms`, Redis time; zero when that is over.
    #[must_use]
    pub fn left_until(&self, at_ms: u64) -> Duration {
        Duration::from_millis(at_ms.saturating_sub(self.now_ms()))
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Takes `redis_ms`, just read, as the time of now.
    pub(super) fn set_clock(&self, redis_ms: i64) {
        self.shared.set_clock(redis_ms, monotonic_ms());
    }

    /// Ends when the connection has been made anew: what was announced meanwhile is missed. Also
    /// when none will come any more.
    pub fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut states = self.shared.state.subscribe();
        let before = generation(&states.borrow_and_update());
        async move {
            loop {
                let now = generation(&states.borrow_and_update());
                let has_ended = matches!(*states.borrow(), State::Ended);
                if has_ended || (now.is_some() && now != before) {
                    return;
                }
                if states.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    /// The connection of the moment; none while there is none.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        match &*self.shared.state.borrow() {
            State::Up { peer, generation, .. } => {
                Some(Standing { peer: peer.clone(), generation: *generation })
            }
            State::Down(_) | State::Ended => None,
        }
    }

    /// Whether there is a connection right now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        generation(&self.shared.state.borrow()).is_some()
    }

    /// Waits up to `within` for a connection; whether there is one.
    pub async fn wait_up(&self, within: Duration) -> bool {
        self.is_up() || self.connection(within).await.is_ok()
    }

    /// Hears messages on `channel` from now on, across reconnects. Returns once Redis confirmed.
    ///
    /// # Errors
    ///
    /// When Redis is not reachable within `within`, or refuses. The channel is then not kept.
    pub async fn subscribe(&self, channel: &str, within: Duration) -> Result<(), StoreError> {
        // Noted first: a connection that is made from now on renews it by itself.
        self.shared.channels().insert(channel.to_owned());
        let subscribing = async {
            let (mut conn, generation) = self.connection(within).await?;
            let call = redis::cmd("SSUBSCRIBE").arg(channel).to_owned();
            let subscribing = call.exec_async(&mut conn).map_err(StoreError::from);
            let subscribed = timeout(within, self.during(generation, subscribing)).await;
            subscribed.map_err(|_| self.connector().unreachable(None))?
        };
        let subscribed = subscribing.await;
        if subscribed.is_err() {
            self.shared.channels().remove(channel);
        }
        subscribed
    }

    /// Stops hearing `channel`. Best effort: a broken connection has forgotten it anyway.
    pub async fn unsubscribe(&self, channel: &str) {
        let removed = self.shared.channels().remove(channel);
        // Cloned out: the state must not stay borrowed over the command.
        let state = self.shared.state.borrow().clone();
        if removed && let State::Up { mut conn, .. } = state {
            let _ = redis::cmd("SUNSUBSCRIBE").arg(channel).exec_async(&mut conn).await;
        }
    }

    /// The connection of the moment; waits up to `within` for one. Cancel safe.
    pub(super) async fn connection(
        &self,
        within: Duration,
    ) -> Result<(MultiplexedConnection, u64), StoreError> {
        if let State::Up { conn, generation, .. } = &*self.shared.state.borrow() {
            return Ok((conn.clone(), *generation));
        }
        let mut states = self.shared.state.subscribe();
        let up = states.wait_for(|state| matches!(state, State::Up { .. } | State::Ended));
        if let Ok(Ok(state)) = timeout(within, up).await
            && let State::Up { conn, generation, .. } = &*state
        {
            return Ok((conn.clone(), *generation));
        }
        Err(match &*self.shared.state.borrow() {
            // An attempt to connect that was lost half-way has sent nothing of ours.
            State::Down(Some(StoreError::Lost(source))) => {
                self.connector().unreachable(Some(source.clone()))
            }
            State::Down(Some(error)) => error.clone(),
            State::Ended => StoreError::Ended,
            State::Down(None) | State::Up { .. } => self.connector().unreachable(None),
        })
    }

    /// Runs one script call on the connection of the moment.
    pub(super) async fn run(
        &self,
        script: &Script,
        call: &Cmd,
        within: Duration,
    ) -> Result<Value, StoreError> {
        let (mut conn, generation) = self.connection(within).await?;
        self.during(generation, script.run(&mut conn, call)).await
    }

    /// Runs several calls of scripts in one write; one result each, in order.
    pub(super) async fn run_all(
        &self,
        calls: &[(&Script, Cmd)],
        within: Duration,
    ) -> Result<Vec<Result<Value, StoreError>>, StoreError> {
        if let [(script, call)] = calls {
            return Ok(vec![Ok(self.run(script, call, within).await?)]);
        }
        let (mut conn, generation) = self.connection(within).await?;
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for (_, call) in calls {
            pipe.add_command(call.clone());
        }
        let sending = pipe.query_async::<Vec<RedisResult<Value>>>(&mut conn);
        let sent = self.during(generation, sending.map_err(StoreError::from)).await?;
        let mut values = Vec::with_capacity(calls.len());
        for (value, (script, call)) in sent.into_iter().zip(calls) {
            values.push(match value {
                Err(error) if script::is_no_script(&error) => self.run(script, call, within).await,
                other => self.note(generation, other.map_err(|error| script.failed(error))),
            });
        }
        Ok(values)
    }

    /// Runs plain commands on the connection of the moment.
    pub(super) async fn with<T>(
        &self,
        within: Duration,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (mut conn, generation) = self.connection(within).await?;
        self.during(generation, run(&mut conn).map_err(StoreError::from)).await
    }

    /// Runs to its end what is done on the connection of `generation`, or until that one is given
    /// up: a server that stands still would be waited for in vain.
    pub(super) async fn during<T>(
        &self,
        generation: u64,
        doing: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut states = self.shared.state.subscribe();
        let is_another = |state: &State| self::generation(state) != Some(generation);
        tokio::select! {
            biased;
            done = doing => self.note(generation, done),
            // The sender lives as long as this link.
            _ = states.wait_for(is_another) => Err(given_up()),
        }
    }

    /// Passes `result` on, and has the connection made anew if it shows that it broke.
    pub(super) fn note<T>(
        &self,
        generation_used: u64,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let is_broken =
            |error: &StoreError| matches!(error, StoreError::Lost(_)) || error.is_of_the_server();
        if let Some(error) = result.as_ref().err().filter(|error| is_broken(error)) {
            // At once: who hears of it may ask again before the one who reconnects has noticed.
            self.shared.state.send_if_modified(|state| match state {
                State::Up { generation, broken, .. } if *generation == generation_used => {
                    broken.notify_one();
                    *state = State::Down(Some(error.clone()));
                    true
                }
                State::Up { .. } | State::Down(_) | State::Ended => false,
            });
        }
        result
    }
}

/// What a command hears whose connection is not used any more.
fn given_up() -> StoreError {
    let kind = (redis::ErrorKind::Io, "the connection was given up");
    StoreError::Lost(Arc::new(kind.into()))
}

fn generation(state: &State) -> Option<u64> {
    match state {
        State::Up { generation, .. } => Some(*generation),
        State::Down(_) | State::Ended => None,
    }
}

/// Time of this process, ms; it never steps.
fn monotonic_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    millis(START.elapsed())
}

/// From our monotonic clock to that of Redis. Whatever Redis says of it must not end the process.
fn clock_offset(redis_ms: i64, read_at: u64) -> i64 {
    redis_ms.saturating_sub(i64::try_from(read_at).unwrap_or(i64::MAX))
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashSet<String>> {
        // A set is whole even if a thread died holding it.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `redis_ms`, read at `read_at` (monotonic ms), as the measure of Redis's clock.
    fn set_clock(&self, redis_ms: i64, read_at: u64) {
        self.clock_offset_ms.store(clock_offset(redis_ms, read_at), Ordering::Relaxed);
    }

    /// Asks for the time. It was read at the middle of the round trip, as far as one can know.
    async fn ask_time(&self, conn: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        let before = monotonic_ms();
        let time: (i64, i64) = redis::cmd("TIME").query_async(conn).await?;
        let middle = before + (monotonic_ms() - before) / 2;
        self.set_clock(time.0.saturating_mul(1000).saturating_add(time.1 / 1000), middle);
        Ok(())
    }

    /// Makes a connection ready for use: scripts, clock, subscriptions; then shows it. `last` is
    /// the id of the one before; its own id comes back.
    async fn establish(&self, generation: u64, last: Option<i64>) -> Result<i64, StoreError> {
        let broken = Arc::new(Notify::new());
        let (sink, ended) = (self.sink.clone(), broken.clone());
        let pushes = move |push: PushInfo| match (push.kind, push.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                sink(channel, payload);
            }
            (PushKind::Disconnection, _) => ended.notify_one(),
            _ => {}
        };
        let (mut conn, peer) = self.connector.open_with_pushes(pushes).await?;
        if let Some(last) = last {
            self.connector.cut(&mut conn, last).await?;
        }
        script::load_all(&mut conn).await?;
        self.ask_time(&mut conn).await?;
        let id = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await?;
        let channels: Vec<String> = self.channels().iter().cloned().collect();
        for channel in channels {
            redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut conn).await?;
        }
        self.state.send_replace(State::Up { conn, peer, generation, broken });
        Ok(id)
    }
}

/// Says that no connection comes any more when it is dropped, also with its runtime.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.state.send_replace(State::Ended);
    }
}

async fn supervise(shared: &Shared, mut id: i64) {
    let mut generation = 1;
    loop {
        watch_over(shared).await;
        let address = shared.connector.address();
        tracing::warn!(address, "lost the connection to Redis");
        shared.state.send_replace(State::Down(None));
        shared.connector.lost_one();
        let mut pause = FIRST_PAUSE;
        generation += 1;
        let within = shared.connector.connect_timeout();
        id = loop {
            let attempt = || shared.establish(generation, Some(id));
            match hedged(attempt, within).await {
                Ok(id) => break id,
                Err(error) => {
                    tracing::debug!(address, %error, "cannot reconnect to Redis yet");
                    shared.state.send_replace(State::Down(Some(error)));
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        tracing::info!(address, "connected to Redis again");
    }
}

/// Returns when the connection of the moment is broken.
async fn watch_over(shared: &Shared) {
    let State::Up { mut conn, peer, broken, .. } = shared.state.borrow().clone() else { return };
    let moved = shared.connector.moved(&peer);
    tokio::pin!(moved);
    let mut losses = shared.connector.losses();
    loop {
        tokio::select! {
            () = broken.notified() => return,
            () = &mut moved => return,
            () = sleep(ASK_EVERY) => {}
            // Of another connection; the sender lives as long as the connector.
            _ = losses.changed() => {}
        }
        tokio::select! {
            // Whoever uses it may find out first.
            () = broken.notified() => return,
            () = &mut moved => return,
            asked = shared.ask_time(&mut conn) => if asked.is_err() { return },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_beyond_all_reason_is_taken_as_far_as_it_goes() {
        assert_eq!(clock_offset(1000, 400), 600);
        assert_eq!(clock_offset(i64::MIN, 400), i64::MIN);
        assert_eq!(clock_offset(i64::MAX, u64::MAX), 0);
    }
}
