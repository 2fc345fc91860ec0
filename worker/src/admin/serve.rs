//! Connections: how many at once, and how long each may take.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// More wait in the operating system's queue.
const CONNECTIONS: usize = 64;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(2);
/// How long a connection may take in all, above every answer's own bound.
const WHOLE: Duration = Duration::from_secs(10);
/// How large a request's head may be. The smallest that hyper takes.
const BUFFER: usize = 8 << 10;
/// Pause after a connection could not be taken (no file descriptor is free, as a rule).
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (free, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS)), JoinSet::new());
    let mut http = http1::Builder::new();
    // One request a connection: who asks every few seconds loses nothing by that, and nobody
    // keeps a place without using it.
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    loop {
        // It is never closed.
        let Ok(place) = free.clone().acquire_owned().await else { return Ok(()) };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // Who hangs up or speaks something else is none of our business.
            let _ = timeout(WHOLE, connection).await;
            drop(place);
        });
    }
}
