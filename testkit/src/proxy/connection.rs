//! One connection through the proxy: requests one way, replies the other, each reply with the
//! request that it answers.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::catch::{Exchange, Fate};
use super::faults::{Era, Faults, Replies};
use super::resp;

/// How much is read at once.
const PORTION: usize = 64 << 10;

/// Requests whose replies have not come yet. Written by the requests' way, read by the replies'.
#[derive(Default)]
struct Asked(Mutex<VecDeque<Vec<u8>>>);

impl Asked {
    fn push(&self, request: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(request);
    }

    fn pop(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A reply on its way, or what Redis sends without being asked.
struct Arrived {
    at: Instant,
    /// None for what was not asked for.
    request: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

/// Serves one connection to its end: that of one of its sides, or of its era.
pub(super) async fn serve(
    mut client: TcpStream,
    mut server: UnixStream,
    faults: Arc<Faults>,
    mut era: Era,
) {
    // Not to be a fault by itself.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let asked = Asked::default();
    let (arrive, arrived) = mpsc::unbounded_channel();
    let listening = async {
        let _ = listen(from_server, &asked, arrive).await;
        // What Redis said before it closed the connection still comes to the client: the replies'
        // way ends when it has brought all of it.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = era.end() => {}
        _ = requests(from_client, to_server, &asked) => {}
        () = listening => {}
        _ = replies(arrived, to_client, &faults) => {}
    }
}

/// Passes requests on, and notes each before Redis sees it.
async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    asked: &Asked,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if read_more(&mut client, &mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(request) = take(&mut buffer) {
            let is_answered = !resp::is_subscription(&request);
            if is_answered {
                asked.push(request.clone());
            }
            server.write_all(&request).await?;
        }
    }
}

/// Takes what Redis says apart, however much of it is held further on.
async fn listen(
    mut server: impl AsyncRead + Unpin,
    asked: &Asked,
    arrive: mpsc::UnboundedSender<Arrived>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if read_more(&mut server, &mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(bytes) = take(&mut buffer) {
            let request = if resp::is_push(&bytes) { None } else { asked.pop() };
            let arrived = Arrived { at: Instant::now(), request, bytes };
            if arrive.send(arrived).is_err() {
                return Ok(());
            }
        }
    }
}

/// Brings replies to the client, unless a fault befalls them.
async fn replies(
    mut arrived: mpsc::UnboundedReceiver<Arrived>,
    mut client: impl AsyncWrite + Unpin,
    faults: &Faults,
) -> io::Result<()> {
    while let Some(Arrived { at, request, bytes }) = arrived.recv().await {
        if let Some(request) = &request
            && faults.fate(&Exchange { request, reply: &bytes }).await == Fate::Cut
        {
            return Ok(());
        }
        let delay = faults.mode().delay;
        if !delay.is_zero() {
            sleep_until(at + delay).await;
        }
        if faults.decided().await == Replies::Pass {
            client.write_all(&bytes).await?;
        }
    }
    Ok(())
}

/// Reads on; 0 at the end.
async fn read_more(from: &mut (impl AsyncRead + Unpin), to: &mut Vec<u8>) -> io::Result<usize> {
    to.reserve(PORTION);
    from.read_buf(to).await
}

/// Takes the first whole message.
fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = resp::end_of(buffer)?;
    let rest = buffer.split_off(end);
    Some(std::mem::replace(buffer, rest))
}
