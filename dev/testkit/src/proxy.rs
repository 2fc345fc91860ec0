//! A proxy in front of a private Redis that breaks connections on purpose.

mod catch;
mod connection;
mod dice;
mod faults;
mod late;
mod resp;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

pub use catch::{Exchange, Held};
use dice::Dice;
pub use dice::Odds;
use faults::{Faults, Mode, Phase, Replies};
pub use late::HeldRequest;

use crate::eventually::TIMEOUT;
use crate::servers::restartable::RestartableRedis;
use crate::servers::test_redis::TestRedis;

/// A proxy on a loopback port. By default it passes everything on. Requests pass unless they are
/// held or detained; faults affect connections and replies. Dropping it cuts its connections.
///
/// It runs on a thread of its own: a test that blocks its own thread does not block the proxy. Its
/// clients use plain TCP, even if the server uses TLS for others. Subscriptions need RESP3.
pub struct FaultProxy {
    address: SocketAddr,
    redis: RedisSettings,
    faults: Arc<Faults>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a proxy in front of `redis`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(redis: &TestRedis) -> Self {
        Self::start_at(redis.socket(), redis.settings())
    }

    /// Starts a proxy in front of a server that may die and come back; connections to a server
    /// that is not there are closed at once.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_before(redis: &RestartableRedis) -> Self {
        Self::start_at(redis.socket(), redis.settings())
    }

    /// Starts a proxy in front of any server, present or future, at the Unix socket; `redis` are
    /// its settings.
    ///
    /// # Panics
    /// As [`Self::start`].
    #[must_use]
    pub fn start_at(socket: PathBuf, redis: RedisSettings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Arc::new(Faults::default());
        let (end, ended) = oneshot::channel();
        let shared = faults.clone();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, &socket, &shared) => {}
                    _ = ended => {}
                }
            });
        });
        let redis = RedisSettings { ca_file: None, ..redis };
        Self { address, redis, faults, end: Some(end), thread: Some(thread) }
    }

    /// The address that the code under test is given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The server's settings, with this proxy's address.
    #[must_use]
    pub fn settings(&self) -> RedisSettings {
        RedisSettings { url: self.url(), ..self.redis.clone() }
    }

    /// Passes everything on from now on, held replies first.
    pub fn pass(&self) {
        self.faults.throw(None);
        self.faults.set(|mode| *mode = Mode::default());
    }

    /// Keeps back all replies, of all connections, until [`Self::pass`] or [`Self::lose_replies`].
    pub fn hold_replies(&self) {
        self.faults.set(|mode| mode.replies = Replies::Hold);
    }

    /// Drops all replies, held ones included: requests take effect, but their replies are lost.
    /// After [`Self::pass`] a connection that missed replies is out of step with its client: call
    /// [`Self::cut`] before.
    pub fn lose_replies(&self) {
        self.faults.set(|mode| mode.replies = Replies::Lose);
    }

    /// Passes every reply on that much later. They keep their order, and do not add up.
    pub fn delay(&self, delay: Duration) {
        self.faults.set(|mode| mode.delay = delay);
    }

    /// Brings replies together that come within this time of the first, in one packet.
    pub fn merge(&self, bounded: Duration) {
        self.faults.set(|mode| mode.merge = bounded);
    }

    /// Splits every reply into pieces of at most this many bytes, each in a packet of its own as
    /// far as the network permits. 0 ends it.
    pub fn split(&self, bytes: usize) {
        self.faults.set(|mode| mode.piece = NonZeroUsize::new(bytes));
    }

    /// Limits the bytes of replies per second, on each connection. 0 ends it.
    pub fn throttle(&self, bytes_per_second: usize) {
        self.faults.set(|mode| mode.throttle = NonZeroUsize::new(bytes_per_second));
    }

    /// Applies random faults to replies until [`Self::pass`]. The same seed causes the same faults
    /// if replies come in the same order.
    pub fn misbehave(&self, seed: u64, odds: Odds) {
        self.faults.throw(Some(Dice::new(seed, odds)));
    }

    /// Counts the replies that are late or lost by [`Self::misbehave`], and that `counts` accepts.
    pub fn count_met(&self, counts: fn(&Exchange<'_>) -> bool) {
        self.faults.count_met(counts);
    }

    /// Returns the number of replies that [`Self::count_met`] has counted.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.faults.met()
    }

    /// Silences the present connections, as a network without routes does: no byte passes, and
    /// neither side receives an end, until [`Self::cut`]. New connections are whole.
    pub fn silence(&self) {
        self.faults.break_off(Phase::Silent);
    }

    /// Half-closes the present connections: no more replies come. Requests still take effect, until
    /// the client closes or [`Self::cut`]. New connections are whole.
    pub fn half_close(&self) {
        self.faults.break_off(Phase::HalfClosed);
    }

    /// Keeps back requests of the present connections, as an endlessly slow network does, until
    /// [`Self::deliver`] or [`Self::cut`], even when their clients close them. New connections are
    /// whole.
    pub fn detain(&self) {
        self.faults.break_off(Phase::Detained);
    }

    /// Sends the detained requests to the server, if it still accepts them, and closes those
    /// connections. Returns when they can have no further effect.
    pub async fn deliver(&self) {
        self.faults.deliver().await;
    }

    /// Closes all connections, both ways. Returns when that is done: nothing of them comes through
    /// any more. New ones are taken.
    pub async fn cut(&self) {
        self.faults.cut().await;
    }

    /// Closes new connections at once, until [`Self::pass`]. Present ones continue.
    pub fn refuse(&self) {
        self.faults.set(|mode| mode.refuses = true);
    }

    /// Waits for the next reply that `wanted` accepts, and holds it, with everything after it on
    /// its connection. Its request has then taken effect.
    ///
    /// It is waited for from this call on, not from the first poll. Dropping the future lets the
    /// reply pass.
    ///
    /// # Panics
    /// The future panics when no such reply has come for ten seconds.
    #[track_caller]
    pub fn hold_reply(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> impl Future<Output = Held> + Send + 'static {
        bounded("hold", self.faults.hold(wanted))
    }

    /// As [`Self::hold_reply`], but swallows the reply and closes its connection at once, whether
    /// or not the future is polled. Dropping the future lets the reply pass.
    ///
    /// # Panics
    /// As [`Self::hold_reply`].
    #[track_caller]
    pub fn lose_reply(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        bounded("lose", self.faults.lose(wanted))
    }

    /// Waits for the first request from now on for which `wanted` holds, and keeps it from the
    /// server, with everything after it on its connection. Its replies go on, and other
    /// connections are whole. The client may give up meanwhile: the server does not notice it.
    ///
    /// It is waited for from this call on, not from the first poll. Dropping the future lets the
    /// request pass.
    ///
    /// # Panics
    /// The future panics when no such request has come for ten seconds.
    #[track_caller]
    pub fn hold_request(
        &self,
        wanted: impl FnMut(&Exchange<'_>) -> bool + Send + 'static,
    ) -> impl Future<Output = HeldRequest> + Send + 'static {
        bounded("hold", self.faults.hold_request(wanted))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes connections until dropped; they end with it.
async fn serve(listener: TcpListener, socket: &Path, faults: &Arc<Faults>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let era = faults.era();
        if faults.mode().refuses {
            continue;
        }
        // The server has ended: the client's connection ends too.
        let Ok(server) = UnixStream::connect(socket).await else { continue };
        let faults = faults.clone();
        connections.spawn(connection::serve(client, server, faults, era));
    }
}

/// Returns the value of `caught`, in bounded time.
#[track_caller]
fn bounded<T>(what: &'static str, caught: oneshot::Receiver<T>) -> impl Future<Output = T> + Send
where
    T: Send,
{
    // Taken here: inside the future the caller would be the runtime.
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(TIMEOUT, caught).await {
            Ok(Ok(caught)) => caught,
            _ => panic!("{caller}: nothing to {what} within {} s", TIMEOUT.as_secs()),
        }
    }
}
