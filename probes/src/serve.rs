//! Connections: their number, their timeouts, and their eviction.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

/// Most connections at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may be silent, or leave its answer unread, before it can be evicted. A
/// client that sends its request at once must not be evicted before.
const GRACE: Duration = Duration::from_millis(100);
/// How often to search for a connection to evict, while the limit is reached.
const EVICT_INTERVAL: Duration = Duration::from_millis(10);
/// Timeout of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of a whole connection, longer than that of every answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, bytes. The smallest limit that hyper accepts.
const MAX_HEAD: usize = 8 << 10;
/// Pause after a failed accept (usually for lack of file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Phases of a connection: no request yet, making the answer, writing the answer.
const SILENT: u8 = 0;
const ANSWERING: u8 = 1;
const ANSWERED: u8 = 2;

/// Serves until dropped; dropping it ends its connections.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = Connections::new(router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.make_room().await;
                connections.take(stream);
            }
            Err(_) => {
                connections.close(SILENT);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The open connections.
struct Connections {
    http: http1::Builder,
    router: Router,
    /// Oldest first.
    open: VecDeque<Connection>,
    tasks: JoinSet<()>,
}

struct Connection {
    since: Instant,
    /// Written by the connection's task.
    phase: Arc<AtomicU8>,
    task: AbortHandle,
}

impl Connections {
    fn new(router: Router) -> Self {
        let mut http = http1::Builder::new();
        // One request per connection: a client that sends one every few seconds loses nothing, and
        // no idle connection counts against the limit.
        http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        http.max_buf_size(MAX_HEAD);
        let (open, tasks) = (VecDeque::with_capacity(MAX_CONNECTIONS), JoinSet::new());
        Self { http, router, open, tasks }
    }

    fn take(&mut self, stream: TcpStream) {
        let phase = Arc::new(AtomicU8::new(SILENT));
        let (router, current) = (TowerToHyperService::new(self.router.clone()), phase.clone());
        let service = service_fn(move |request| {
            current.store(ANSWERING, Ordering::Relaxed);
            let (answering, current) = (router.call(request), current.clone());
            async move {
                let answer = answering.await;
                current.store(ANSWERED, Ordering::Relaxed);
                answer
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let task = self.tasks.spawn(async move {
            // A disconnect or a malformed request concerns only the client.
            let _ = timeout(CONNECTION_TIMEOUT, connection).await;
        });
        self.open.push_back(Connection { since: Instant::now(), phase, task });
    }

    /// Returns when there is capacity for one more connection. Evicts a silent connection; if there
    /// is none, one that does not read its answer. Answers in the making have their own timeouts.
    async fn make_room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.open.retain(|connection| !connection.task.is_finished());
            if self.open.len() < MAX_CONNECTIONS || self.close(SILENT) || self.close(ANSWERED) {
                return;
            }
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = sleep(EVICT_INTERVAL) => {}
            }
        }
    }

    /// Closes the oldest connection in this phase after its grace; returns `false` if there is
    /// none.
    fn close(&mut self, phase: u8) -> bool {
        let may_go = |connection: &Connection| {
            connection.phase.load(Ordering::Relaxed) == phase && connection.since.elapsed() >= GRACE
        };
        let Some(at) = self.open.iter().position(may_go) else { return false };
        if let Some(connection) = self.open.remove(at) {
            connection.task.abort();
        }
        true
    }
}
