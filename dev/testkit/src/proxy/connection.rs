//! One connection through the proxy: requests one way, replies the other, each reply with the
//! request that it answers.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::catch::{Exchange, Fate};
use super::faults::{Era, Faults, Phase, Replies};
use super::late::Answered;
use super::resp;

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// A request without a reply yet, and the channel to notify on its reply.
type Open = (Vec<u8>, Option<Answered>);

/// All of them. Written by the requests' way, read by the replies'.
#[derive(Default)]
struct OpenRequests(Mutex<VecDeque<Open>>);

impl OpenRequests {
    fn push(&self, open: Open) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(open);
    }

    /// The next one, now that it is answered.
    fn pop(&self) -> Option<Vec<u8>> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        open.map(|(request, answered)| {
            notify(answered);
            request
        })
    }
}

fn notify(answered: Option<Answered>) {
    // The receiver may have been dropped.
    let _ = answered.map(|answered| answered.send(()));
}

/// A reply in flight, or an unrequested message of Redis.
struct Arrived {
    at: Instant,
    /// `None` for an unrequested message.
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
    // The proxy itself must not add a delay.
    let _ = client.set_nodelay(true);
    let open_requests = OpenRequests::default();
    // Outlives the loop that fills it: half a request may be in it when the replies end.
    let mut unsent = Vec::new();
    let phase = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (arrive, mut arrived) = mpsc::unbounded_channel();
        let listening = async {
            let _ = listen(from_server, &open_requests, arrive).await;
            // Replies that Redis sent before it closed the connection still reach the client: the
            // task of the replies ends after the last.
            std::future::pending::<()>().await;
        };
        let bringing = async {
            // A client that has ended does not end the connection from here: its requests may still
            // be in flight.
            if replies(&mut arrived, to_client, &faults).await.is_err() {
                while arrived.recv().await.is_some() {}
            }
        };
        tokio::select! {
            // First: nothing that comes after the fault may pass.
            biased;
            phase = era.change() => phase,
            _ = requests(from_client, to_server, &open_requests, &mut unsent, &faults) => return,
            () = listening => return,
            () = bringing => return,
        }
    };
    match phase {
        Phase::Passing | Phase::Cut | Phase::Delivered => {}
        Phase::Detained => {
            let detained = detain(&mut client, &mut era, &mut unsent).await;
            if detained == Phase::Delivered {
                // Read to its end, so that the server has carried out all that it ever will.
                let (mut from_server, mut to_server) = server.split();
                let mut discarded = tokio::io::sink();
                let _ = to_server.write_all(&unsent).await;
                let _ = to_server.shutdown().await;
                let _ = tokio::io::copy(&mut from_server, &mut discarded).await;
            }
        }
        // The sockets stay open, but are not read.
        Phase::Silent => drop(era.change().await),
        Phase::HalfClosed => {
            let _ = client.shutdown().await;
            let (from_client, _) = client.split();
            let (mut from_server, to_server) = server.split();
            let mut discarded = tokio::io::sink();
            tokio::select! {
                _ = era.change() => {}
                _ = requests(from_client, to_server, &open_requests, &mut unsent, &faults) => {}
                _ = tokio::io::copy(&mut from_server, &mut discarded) => {}
            }
        }
    }
}

/// Keeps back requests, even if the client closes, until the phase changes.
async fn detain(client: &mut TcpStream, era: &mut Era, unsent: &mut Vec<u8>) -> Phase {
    let keep = async {
        while read_more(client, unsent).await.is_ok_and(|count| count > 0) {}
        std::future::pending().await
    };
    tokio::select! {
        phase = era.change() => phase,
        () = keep => Phase::Cut,
    }
}

/// Passes requests on, and notes each before Redis sees it. Ends with the client; but if a request
/// is held, the network hides the client's end from the server.
async fn requests(
    mut client: impl AsyncRead + Unpin,
    mut server: impl AsyncWrite + Unpin,
    open_requests: &OpenRequests,
    buffer: &mut Vec<u8>,
    faults: &Faults,
) -> io::Result<()> {
    let mut is_late = false;
    // Requests without a reply count as part of the next one that has one.
    let (mut unanswered, mut skips) = (Vec::new(), false);
    while matches!(read_more(&mut client, buffer).await, Ok(1..)) {
        while let Some(end) = resp::end_of(buffer) {
            let answered = match faults.holds(&buffer[..end]) {
                None => None,
                Some(held) => match hold_up(held, &mut client, buffer).await {
                    None => return Ok(()),
                    answered => answered,
                },
            };
            is_late |= answered.is_some();
            let Some(request) = take(buffer) else { break };
            if resp::is_subscription(&request) {
                server.write_all(&request).await?;
                notify(answered);
            } else if skips || resp::is_skip(&request) {
                skips = !skips;
                unanswered.extend_from_slice(&request);
                server.write_all(&request).await?;
                notify(answered);
            } else {
                let mut whole = std::mem::take(&mut unanswered);
                whole.extend_from_slice(&request);
                open_requests.push((whole, answered));
                server.write_all(&request).await?;
            }
        }
    }
    if is_late { std::future::pending().await } else { Ok(()) }
}

/// Waits until a request may pass. Later requests are read meanwhile: the client may end first.
/// `None`: the request is lost.
async fn hold_up(
    mut held: oneshot::Receiver<Answered>,
    client: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Option<Answered> {
    let mut is_gone = false;
    loop {
        tokio::select! {
            go = &mut held => return go.ok(),
            read = read_more(client, buffer), if !is_gone => is_gone = !matches!(read, Ok(1..)),
        }
    }
}

/// Splits the replies of Redis, however many of them are held later.
async fn listen(
    mut server: impl AsyncRead + Unpin,
    open_requests: &OpenRequests,
    arrive: mpsc::UnboundedSender<Arrived>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        if read_more(&mut server, &mut buffer).await? == 0 {
            return Ok(());
        }
        while let Some(bytes) = take(&mut buffer) {
            let request = if resp::is_push(&bytes) { None } else { open_requests.pop() };
            let arrived = Arrived { at: Instant::now(), request, bytes };
            if arrive.send(arrived).is_err() {
                return Ok(());
            }
        }
    }
}

/// Sends replies to the client, unless a fault affects them.
async fn replies(
    arrived: &mut mpsc::UnboundedReceiver<Arrived>,
    mut client: impl AsyncWrite + Unpin,
    faults: &Faults,
) -> io::Result<()> {
    while let Some(first) = arrived.recv().await {
        let (mut bytes, mut piece) = (Vec::new(), None);
        if !apply_fault(first, faults, &mut bytes, &mut piece).await {
            return Ok(());
        }
        let merge = faults.mode().merge;
        if !merge.is_zero() {
            sleep_until(Instant::now() + merge).await;
            while let Ok(next) = arrived.try_recv() {
                if !apply_fault(next, faults, &mut bytes, &mut piece).await {
                    return Ok(());
                }
            }
        }
        write(&mut client, &bytes, piece.or(faults.mode().piece), faults).await?;
    }
    Ok(())
}

/// Adds a reply to the client's bytes, when it is due. Returns `false` if its connection is to be
/// cut.
async fn apply_fault(
    reply: Arrived,
    faults: &Faults,
    out: &mut Vec<u8>,
    piece: &mut Option<NonZeroUsize>,
) -> bool {
    let Arrived { at, request, bytes } = reply;
    let mut delay = faults.mode().delay;
    if let Some(request) = &request {
        if faults.fate(&Exchange { request, reply: &bytes }).await == Fate::Cut {
            return false;
        }
        if let Some(roll) = faults.roll(&Exchange { request, reply: &bytes }) {
            if roll.is_lost {
                return false;
            }
            delay = delay.max(roll.delay);
            *piece = roll.piece.or(*piece);
        }
    }
    if !delay.is_zero() {
        sleep_until(at + delay).await;
    }
    if faults.decided().await == Replies::Pass {
        out.extend(bytes);
    }
    true
}

/// Writes in as many pieces, and as slowly, as it is to be.
async fn write(
    client: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    piece: Option<NonZeroUsize>,
    faults: &Faults,
) -> io::Result<()> {
    /// How often in a second a throttled connection is written to.
    const BEATS: usize = 50;
    let throttle = faults.mode().throttle;
    let beat =
        throttle.map(|rate| NonZeroUsize::new(rate.get() / BEATS).unwrap_or(NonZeroUsize::MIN));
    let Some(max) = piece.into_iter().chain(beat).min() else {
        return client.write_all(bytes).await;
    };
    for piece in bytes.chunks(max.get()) {
        client.write_all(piece).await?;
        match throttle {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            Some(rate) => {
                let takes = Duration::from_secs_f64(piece.len() as f64 / rate.get() as f64);
                sleep_until(Instant::now() + takes).await;
            }
            // Its own packet: the client may read before the next one comes.
            None => tokio::task::yield_now().await,
        }
    }
    Ok(())
}

/// Reads on; 0 at the end.
async fn read_more(from: &mut (impl AsyncRead + Unpin), to: &mut Vec<u8>) -> io::Result<usize> {
    to.reserve(BUFFER);
    from.read_buf(to).await
}

/// Takes the first whole message.
fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = resp::end_of(buffer)?;
    let rest = buffer.split_off(end);
    Some(std::mem::replace(buffer, rest))
}
