//! Connections: how many at once, how long each may take, and which has to go for a new one.

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

/// How many there are at once.
const CONNECTIONS: usize = 256;
/// How long each may be silent, or leave its answer unread, before it has to go for a new one: who
/// asks at once must not be closed between connecting and asking.
const GRACE: Duration = Duration::from_millis(100);
/// How often it is looked which has had its grace, while there is no room.
const LOOK: Duration = Duration::from_millis(10);
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(2);
/// How long a connection may take in all, above every answer's own bound.
const WHOLE: Duration = Duration::from_secs(10);
/// How large a request's head may be. The smallest that hyper takes.
const BUFFER: usize = 8 << 10;
/// Pause after a connection could not be taken (no file descriptor is free, as a rule).
const PAUSE: Duration = Duration::from_millis(100);

/// A connection's phases: nothing was asked, an answer is being made, it is being written.
const SILENT: u8 = 0;
const ASKED: u8 = 1;
const ANSWERED: u8 = 2;

/// Serves until dropped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut places = Places::new(router);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                places.make_room().await;
                places.take(stream);
            }
            Err(_) => {
                places.close(SILENT);
                sleep(PAUSE).await;
            }
        }
    }
}

/// The open connections.
struct Places {
    http: http1::Builder,
    router: Router,
    /// The oldest first.
    taken: VecDeque<Place>,
    connections: JoinSet<()>,
}

struct Place {
    since: Instant,
    /// Written by the connection's task.
    phase: Arc<AtomicU8>,
    task: AbortHandle,
}

impl Places {
    fn new(router: Router) -> Self {
        let mut http = http1::Builder::new();
        // One request a connection: who asks every few seconds loses nothing by that, and nobody
        // keeps a place without using it.
        http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD);
        http.max_buf_size(BUFFER);
        let (taken, connections) = (VecDeque::with_capacity(CONNECTIONS), JoinSet::new());
        Self { http, router, taken, connections }
    }

    fn take(&mut self, stream: TcpStream) {
        let phase = Arc::new(AtomicU8::new(SILENT));
        let (router, told) = (TowerToHyperService::new(self.router.clone()), phase.clone());
        let service = service_fn(move |request| {
            told.store(ASKED, Ordering::Relaxed);
            let (answering, told) = (router.call(request), told.clone());
            async move {
                let answer = answering.await;
                told.store(ANSWERED, Ordering::Relaxed);
                answer
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let task = self.connections.spawn(async move {
            // Who hangs up or speaks something else is none of our business.
            let _ = timeout(WHOLE, connection).await;
        });
        self.taken.push_back(Place { since: Instant::now(), phase, task });
    }

    /// Returns when there is room for one more. Whoever holds a place and is silent loses it; else
    /// whoever does not read its answer. Answers that are being made have bounds of their own.
    async fn make_room(&mut self) {
        loop {
            while self.connections.try_join_next().is_some() {}
            self.taken.retain(|place| !place.task.is_finished());
            if self.taken.len() < CONNECTIONS || self.close(SILENT) || self.close(ANSWERED) {
                return;
            }
            tokio::select! {
                _ = self.connections.join_next() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Closes the oldest connection in this phase that has had its grace; `false` if there is none.
    fn close(&mut self, phase: u8) -> bool {
        let may_go = |place: &Place| {
            place.phase.load(Ordering::Relaxed) == phase && place.since.elapsed() >= GRACE
        };
        let Some(at) = self.taken.iter().position(may_go) else { return false };
        if let Some(place) = self.taken.remove(at) {
            place.task.abort();
        }
        true
    }
}
