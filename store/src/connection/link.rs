//! A supervised connection: one task owns it, reconnects it and renews its subscriptions.
//!
//! `MultiplexedConnection` never reconnects, and redis-rs's manager does not support sharded
//! subscriptions. Callers get the current one from [`Connection`] and report its failures.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryFutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{self, sleep};

use super::clock::{clock_offset, monotonic_ms};
use super::connector::{Connector, Peer, hedged, run_id};
use crate::driver::OrStore;
use crate::error::{Cause, StoreError};
use crate::script::{self, Script};
use redcall_common::backoff::Backoff;

/// The period of clock measurements, which also find half-open connections.
const CLOCK_PERIOD: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect.
const RECONNECT: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));

/// Called with channel and payload of each message on a subscribed channel; on a connection that
/// tracks keys, with an empty channel and each changed key, or with no key if any may have changed.
/// Must not block.
pub type PushHandler = Arc<dyn Fn(&[u8], &[u8]) + Send + Sync>;

#[derive(Clone)]
enum ConnectionState {
    Down(Option<StoreError>),
    /// The supervising task has ended, with its runtime: there will be no connection.
    Ended,
    Up {
        conn: MultiplexedConnection,
        peer: Peer,
        process: Option<Arc<str>>,
        generation: u64,
        /// Notified by the caller that saw this connection break. Reports of older ones are
        /// ignored.
        broken: Arc<Notify>,
    },
}

/// The identity of a connection of a [`Connection`], and its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionId {
    peer: Peer,
    /// The run id of the server's process; `None` if it is not known.
    process: Option<Arc<str>>,
    generation: u64,
}

impl ConnectionId {
    /// Returns `true` if both lead to the same server, as far as the Sentinels know.
    #[must_use]
    pub fn is_with(&self, other: &Self) -> bool {
        self.peer == other.peer
    }

    /// Returns `true` if both lead to the same run of a server: it has lost no data in between.
    #[must_use]
    pub fn is_same_run(&self, other: &Self) -> bool {
        self.process.is_some() && self.process == other.process
    }
}

struct Shared {
    connector: Connector,
    sink: PushHandler,
    /// Written by the supervising task, read by all callers.
    state: watch::Sender<ConnectionState>,
    /// Written by `subscribe` and `unsubscribe`; read by the supervising task on a new connection.
    /// Never locked across an await: a caller that waits for a connection would block it.
    channels: Mutex<HashSet<String>>,
    /// The scripts that each new connection loads.
    scripts: Vec<&'static Script>,
    /// `true` if Redis reports changes of keys: `CLIENT TRACKING`.
    tracks: bool,
    /// Redis time minus this process's monotonic time, ms. Written after each `TIME`.
    clock_offset_ms: AtomicI64,
}

/// A connection that reconnects. Dropping it closes it.
pub struct Connection {
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

impl Connection {
    /// Connects, loads these `scripts`, and stays connected. Spawns the supervising task.
    pub(crate) async fn open(
        connector: Connector,
        sink: PushHandler,
        scripts: Vec<&'static Script>,
    ) -> Result<Self, StoreError> {
        Self::open_as(connector, sink, scripts, false).await
    }

    /// Like [`Connection::open`], and Redis reports the next change of each key that is read after
    /// `CLIENT CACHING YES`. A reconnect forgets those keys.
    pub(crate) async fn open_tracking(
        connector: Connector,
        sink: PushHandler,
        scripts: Vec<&'static Script>,
    ) -> Result<Self, StoreError> {
        Self::open_as(connector, sink, scripts, true).await
    }

    async fn open_as(
        connector: Connector,
        sink: PushHandler,
        scripts: Vec<&'static Script>,
        tracks: bool,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            connector,
            sink,
            state: watch::Sender::new(ConnectionState::Down(None)),
            channels: Mutex::default(),
            scripts,
            tracks,
            clock_offset_ms: AtomicI64::new(0),
        });
        let id = shared.establish(1, None).await?;
        let ends = EndOnDrop(shared.clone());
        let supervisor = tokio::spawn(async move { supervise(&ends.0, id).await });
        Ok(Self { shared, supervisor })
    }

    pub(crate) fn now_ms(&self) -> u64 {
        let offset = self.shared.clock_offset_ms.load(Ordering::Relaxed);
        monotonic_ms().saturating_add_signed(offset)
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Sets the clock to `redis_ms`, which was read just now.
    pub(crate) fn set_clock(&self, redis_ms: i64) {
        self.shared.set_clock(redis_ms, monotonic_ms());
    }

    /// Takes over the clock of another connection to the same server, which has just read it.
    pub fn follow_clock(&self, other: &Self) {
        let offset = other.shared.clock_offset_ms.load(Ordering::Relaxed);
        self.shared.clock_offset_ms.store(offset, Ordering::Relaxed);
    }

    pub(crate) fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut states = self.shared.state.subscribe();
        let before = generation(&states.borrow_and_update());
        async move {
            loop {
                let now = generation(&states.borrow_and_update());
                let has_ended = matches!(*states.borrow(), ConnectionState::Ended);
                if has_ended || (now.is_some() && now != before) {
                    return;
                }
                if states.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    }

    pub(crate) fn standing(&self) -> Option<ConnectionId> {
        match &*self.shared.state.borrow() {
            ConnectionState::Up { peer, process, generation, .. } => {
                let (peer, process) = (peer.clone(), process.clone());
                Some(ConnectionId { peer, process, generation: *generation })
            }
            ConnectionState::Down(_) | ConnectionState::Ended => None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        generation(&self.shared.state.borrow()).is_some()
    }

    pub(crate) async fn wait_up(&self, timeout: Duration) -> bool {
        self.is_up() || self.connection(timeout).await.is_ok()
    }

    pub(crate) async fn subscribe(
        &self,
        channel: &str,
        timeout: Duration,
    ) -> Result<(), StoreError> {
        // Noted first: a new connection renews it.
        self.shared.channels().insert(channel.to_owned());
        let subscribing = async {
            let (mut conn, generation) = self.connection(timeout).await?;
            let call = redis::cmd("SSUBSCRIBE").arg(channel).to_owned();
            let subscribing = call.exec_async(&mut conn).map_err(StoreError::of_driver);
            let subscribed = time::timeout(timeout, self.during(generation, subscribing)).await;
            subscribed.map_err(|_| self.connector().unreachable(None))?
        };
        let subscribed = subscribing.await;
        if subscribed.is_err() {
            self.shared.channels().remove(channel);
        }
        subscribed
    }

    pub(crate) async fn unsubscribe(&self, channel: &str) {
        let removed = self.shared.channels().remove(channel);
        // Cloned: the state must not stay borrowed across the command.
        let state = self.shared.state.borrow().clone();
        if removed && let ConnectionState::Up { mut conn, .. } = state {
            let _ = redis::cmd("SUNSUBSCRIBE").arg(channel).exec_async(&mut conn).await;
        }
    }

    /// Returns the current connection; waits up to `timeout` for one. Cancel-safe.
    pub(crate) async fn connection(
        &self,
        timeout: Duration,
    ) -> Result<(MultiplexedConnection, u64), StoreError> {
        if let ConnectionState::Up { conn, generation, .. } = &*self.shared.state.borrow() {
            return Ok((conn.clone(), *generation));
        }
        let mut states = self.shared.state.subscribe();
        let up = states
            .wait_for(|state| matches!(state, ConnectionState::Up { .. } | ConnectionState::Ended));
        if let Ok(Ok(state)) = time::timeout(timeout, up).await
            && let ConnectionState::Up { conn, generation, .. } = &*state
        {
            return Ok((conn.clone(), *generation));
        }
        Err(match &*self.shared.state.borrow() {
            // A failed attempt to connect has sent none of our commands.
            ConnectionState::Down(Some(StoreError::Lost(source))) => {
                self.connector().unreachable(Some(source.clone()))
            }
            ConnectionState::Down(Some(error)) => error.clone(),
            ConnectionState::Ended => StoreError::Ended,
            ConnectionState::Down(None) | ConnectionState::Up { .. } => {
                self.connector().unreachable(None)
            }
        })
    }

    /// Runs one script call on the current connection.
    pub(crate) async fn run(
        &self,
        script: &Script,
        call: &Cmd,
        timeout: Duration,
    ) -> Result<Value, StoreError> {
        let (mut conn, generation) = self.connection(timeout).await?;
        self.during(generation, script.run(&mut conn, call)).await
    }

    /// Runs several script calls in one write; returns one result each, in order.
    pub(crate) async fn run_all(
        &self,
        calls: &[(&Script, Cmd)],
        timeout: Duration,
    ) -> Result<Vec<Result<Value, StoreError>>, StoreError> {
        if let [(script, call)] = calls {
            return Ok(vec![Ok(self.run(script, call, timeout).await?)]);
        }
        let (mut conn, generation) = self.connection(timeout).await?;
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for (_, call) in calls {
            pipe.add_command(call.clone());
        }
        let sending = pipe.query_async::<Vec<RedisResult<Value>>>(&mut conn);
        let sent = self.during(generation, sending.map_err(StoreError::of_driver)).await?;
        let mut values = Vec::with_capacity(calls.len());
        for (value, (script, call)) in sent.into_iter().zip(calls) {
            values.push(match value {
                Err(error) if script::is_script_unknown(&error) => {
                    self.run(script, call, timeout).await
                }
                Ok(value) => Ok(value),
                Err(error) => {
                    let failed = script.failed_at(&mut conn, call, error).await;
                    self.note(generation, Err(failed))
                }
            });
        }
        Ok(values)
    }

    /// Runs plain commands on the current connection.
    pub(crate) async fn with<T>(
        &self,
        timeout: Duration,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (mut conn, generation) = self.connection(timeout).await?;
        self.during(generation, run(&mut conn).map_err(StoreError::of_driver)).await
    }

    /// Runs `work` on the connection of `generation` until it ends or the connection is given up: a
    /// stalled server never answers.
    pub(crate) async fn during<T>(
        &self,
        generation: u64,
        doing: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut states = self.shared.state.subscribe();
        let is_another = |state: &ConnectionState| self::generation(state) != Some(generation);
        tokio::select! {
            biased;
            done = doing => self.note(generation, done),
            // The sender lives as long as this connection.
            _ = states.wait_for(is_another) => Err(given_up()),
        }
    }

    /// Returns `result`, and starts a reconnect if it shows that the connection broke.
    pub(crate) fn note<T>(
        &self,
        generation_used: u64,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let is_broken =
            |error: &StoreError| matches!(error, StoreError::Lost(_)) || error.is_of_the_server();
        if let Some(error) = result.as_ref().err().filter(|error| is_broken(error)) {
            // At once: the caller may retry before the supervising task has noticed.
            self.shared.state.send_if_modified(|state| match state {
                ConnectionState::Up { generation, broken, .. }
                    if *generation == generation_used =>
                {
                    broken.notify_one();
                    *state = ConnectionState::Down(Some(error.clone()));
                    true
                }
                ConnectionState::Up { .. } | ConnectionState::Down(_) | ConnectionState::Ended => {
                    false
                }
            });
        }
        result
    }
}

/// The error of a command whose connection was given up.
fn given_up() -> StoreError {
    let kind = (redis::ErrorKind::Io, "the connection was given up");
    StoreError::Lost(Cause::of_driver(kind.into()))
}

fn generation(state: &ConnectionState) -> Option<u64> {
    match state {
        ConnectionState::Up { generation, .. } => Some(*generation),
        ConnectionState::Down(_) | ConnectionState::Ended => None,
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashSet<String>> {
        // A set is consistent even if a thread panicked while it held the lock.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock from `redis_ms`, read at `read_at` (monotonic ms).
    fn set_clock(&self, redis_ms: i64, read_at: u64) {
        self.clock_offset_ms.store(clock_offset(redis_ms, read_at), Ordering::Relaxed);
    }

    /// Measures the clock. Assumes that Redis read it in the middle of the round trip.
    async fn measure_clock(&self, conn: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        let before = monotonic_ms();
        let time: (i64, i64) = redis::cmd("TIME").query_async(conn).await?;
        let middle = before + (monotonic_ms() - before) / 2;
        self.set_clock(time.0.saturating_mul(1000).saturating_add(time.1 / 1000), middle);
        Ok(())
    }

    /// Prepares a connection: scripts, clock, subscriptions; then publishes it. `last` is the id of
    /// the previous connection. Returns the new id.
    async fn establish(&self, generation: u64, last: Option<i64>) -> Result<i64, StoreError> {
        let broken = Arc::new(Notify::new());
        let (sink, ended) = (self.sink.clone(), broken.clone());
        let pushes = move |push: PushInfo| match (push.kind, push.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                sink(channel, payload);
            }
            (PushKind::Invalidate, [Value::Array(keys)]) => keys.iter().for_each(|key| {
                if let Value::BulkString(key) = key {
                    sink(&[], key);
                }
            }),
            // After FLUSHALL.
            (PushKind::Invalidate, _) => sink(&[], &[]),
            (PushKind::Disconnection, _) => ended.notify_one(),
            _ => {}
        };
        let (mut conn, peer) = self.connector.open_with_pushes(pushes).await?;
        if let Some(last) = last {
            self.connector.cut(&mut conn, last).await?;
        }
        script::load_all(&mut conn, &self.scripts).await?;
        self.measure_clock(&mut conn).await.or_store()?;
        if self.tracks {
            let on = ["TRACKING", "ON", "OPTIN", "NOLOOP"];
            redis::cmd("CLIENT").arg(&on).exec_async(&mut conn).await.or_store()?;
        }
        let id = redis::cmd("CLIENT").arg("ID").query_async(&mut conn).await.or_store()?;
        let channels: Vec<String> = self.channels().iter().cloned().collect();
        for channel in channels {
            redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut conn).await.or_store()?;
        }
        let process = run_id(&mut conn).await;
        self.state.send_replace(ConnectionState::Up { conn, peer, process, generation, broken });
        Ok(id)
    }
}

/// Publishes the end of all connections on drop, also when the runtime drops it.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.state.send_replace(ConnectionState::Ended);
    }
}

async fn supervise(shared: &Shared, mut id: i64) {
    let mut generation = 1;
    loop {
        watch_over(shared).await;
        let address = shared.connector.address();
        tracing::warn!(address, "lost the connection to Redis");
        shared.state.send_replace(ConnectionState::Down(None));
        shared.connector.lost_one();
        let mut pause = RECONNECT.first();
        generation += 1;
        let timeout = shared.connector.connect_timeout();
        id = loop {
            let attempt = || shared.establish(generation, Some(id));
            match hedged(attempt, timeout).await {
                Ok(id) => break id,
                Err(error) => {
                    tracing::debug!(address, %error, "cannot reconnect to Redis yet");
                    shared.state.send_replace(ConnectionState::Down(Some(error)));
                    sleep(pause).await;
                    pause = RECONNECT.following(pause);
                }
            }
        };
        tracing::info!(address, "connected to Redis again");
    }
}

/// Returns when the current connection is broken.
async fn watch_over(shared: &Shared) {
    let ConnectionState::Up { mut conn, peer, broken, .. } = shared.state.borrow().clone() else {
        return;
    };
    let moved = shared.connector.moved(&peer);
    tokio::pin!(moved);
    let mut losses = shared.connector.losses();
    loop {
        tokio::select! {
            () = broken.notified() => return,
            () = &mut moved => return,
            () = sleep(CLOCK_PERIOD) => {}
            // The loss of another connection; the sender lives as long as the connector.
            _ = losses.changed() => {}
        }
        tokio::select! {
            // A caller may notice first.
            () = broken.notified() => return,
            () = &mut moved => return,
            measured = shared.measure_clock(&mut conn) => if measured.is_err() { return },
        }
    }
}
