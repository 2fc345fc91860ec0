//! A supervised connection: one task owns it, reconnects it, renews its subscriptions.
//!
//! `MultiplexedConnection` never reconnects by itself, and redis-rs's manager does not know
//! sharded subscriptions. Whoever uses a link asks it for the connection of the moment and
//! reports when that one broke.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, PushInfo, PushKind, Value};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connection::Connector;
use super::error::StoreError;
use super::script::{self, Script};

/// How often an idle connection is tried, so that a half-open one is found.
const PING_EVERY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Called with the payload of each message on a subscribed channel. Must not block.
pub type Sink = Arc<dyn Fn(&[u8]) + Send + Sync>;

#[derive(Clone)]
enum State {
    Down(Option<StoreError>),
    Up {
        conn: MultiplexedConnection,
        generation: u64,
        /// Raised by whoever saw this very connection break; an older one's end means nothing.
        broken: Arc<Notify>,
    },
}

struct Shared {
    connector: Connector,
    sink: Sink,
    /// Written by the supervising task, read by everyone.
    state: watch::Sender<State>,
    /// Written under its lock by `subscribe`; read by the supervising task on a new connection.
    channels: Mutex<HashSet<String>>,
    /// Redis time minus local time, ms. Written on each connect and by heartbeats.
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
        shared.establish(1).await?;
        let supervisor = tokio::spawn(supervise(shared.clone()));
        Ok(Self { shared, supervisor })
    }

    /// Redis time, ms since the epoch, by the offset measured when the connection was made.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let offset = self.shared.clock_offset_ms.load(Ordering::Relaxed);
        local_ms().saturating_add_signed(offset)
    }

    /// Takes `redis_ms`, just read, as the time of now.
    pub(super) fn set_clock(&self, redis_ms: i64) {
        self.shared.set_clock(redis_ms);
    }

    /// Ends when the connection has been made anew: what was announced meanwhile is missed.
    pub fn reconnected(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut states = self.shared.state.subscribe();
        let before = generation(&states.borrow_and_update());
        async move {
            loop {
                let now = generation(&states.borrow_and_update());
                if now.is_some() && now != before {
                    return;
                }
                if states.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
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
        // Held over the command: the supervisor must not renew a set that misses this channel.
        let mut channels = self.shared.channels.lock().await;
        if channels.contains(channel) {
            return Ok(());
        }
        let (mut conn, generation) = self.connection(within).await?;
        let subscribed = redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut conn).await;
        self.note(generation, subscribed.map_err(StoreError::from))?;
        channels.insert(channel.to_owned());
        Ok(())
    }

    /// Stops hearing `channel`. Best effort: a broken connection has forgotten it anyway.
    pub async fn unsubscribe(&self, channel: &str) {
        let removed = self.shared.channels.lock().await.remove(channel);
        if removed && let State::Up { mut conn, .. } = self.shared.state.borrow().clone() {
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
        let up = states.wait_for(|state| matches!(state, State::Up { .. }));
        if let Ok(Ok(state)) = timeout(within, up).await
            && let State::Up { conn, generation, .. } = &*state
        {
            return Ok((conn.clone(), *generation));
        }
        Err(match &*self.shared.state.borrow() {
            State::Down(Some(error)) => error.clone(),
            _ => StoreError::Unreachable {
                address: self.shared.connector.address().to_owned(),
                source: None,
            },
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
        self.note(generation, script.run(&mut conn, call).await)
    }

    /// Passes `result` on, and has the connection made anew if it shows that it broke.
    pub(super) fn note<T>(
        &self,
        generation_used: u64,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Lost(_)) = &result
            && let State::Up { generation, broken, .. } = &*self.shared.state.borrow()
            && *generation == generation_used
        {
            broken.notify_one();
        }
        result
    }
}

fn generation(state: &State) -> Option<u64> {
    match state {
        State::Up { generation, .. } => Some(*generation),
        State::Down(_) => None,
    }
}

fn local_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Shared {
    fn set_clock(&self, redis_ms: i64) {
        let offset = redis_ms - i64::try_from(local_ms()).unwrap_or(i64::MAX);
        self.clock_offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Makes a connection ready for use: scripts, clock, subscriptions; then shows it.
    async fn establish(&self, generation: u64) -> Result<(), StoreError> {
        let broken = Arc::new(Notify::new());
        let (sink, ended) = (self.sink.clone(), broken.clone());
        let pushes = move |push: PushInfo| match (push.kind, push.data.as_slice()) {
            (PushKind::SMessage, [_, Value::BulkString(payload)]) => sink(payload),
            (PushKind::Disconnection, _) => ended.notify_one(),
            _ => {}
        };
        let mut conn = self.connector.open_with_pushes(pushes).await?;
        script::load_all(&mut conn).await?;
        let time: (i64, i64) = redis::cmd("TIME").query_async(&mut conn).await?;
        self.set_clock(time.0 * 1000 + time.1 / 1000);
        let channels = self.channels.lock().await;
        for channel in &*channels {
            redis::cmd("SSUBSCRIBE").arg(channel).exec_async(&mut conn).await?;
        }
        self.state.send_replace(State::Up { conn, generation, broken });
        Ok(())
    }
}

async fn supervise(shared: Arc<Shared>) {
    let mut generation = 1;
    loop {
        watch_over(&shared).await;
        let address = shared.connector.address();
        tracing::warn!(address, "lost the connection to Redis");
        shared.state.send_replace(State::Down(None));
        let mut pause = FIRST_PAUSE;
        generation += 1;
        while let Err(error) = shared.establish(generation).await {
            tracing::debug!(address, %error, "cannot reconnect to Redis yet");
            shared.state.send_replace(State::Down(Some(error)));
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::info!(address, "connected to Redis again");
    }
}

/// Returns when the connection of the moment is broken.
async fn watch_over(shared: &Shared) {
    let State::Up { mut conn, broken, .. } = shared.state.borrow().clone() else { return };
    loop {
        if timeout(PING_EVERY, broken.notified()).await.is_ok() {
            return;
        }
        if redis::cmd("PING").exec_async(&mut conn).await.is_err() {
            return;
        }
    }
}
