//! One connection of a subscriber: it changes its subscriptions, and receives its messages.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::sleep;
use tokio_util::codec::FramedRead;

use super::hub::{Hub, Joined};
use crate::door::{Connection, Door, Stream};
use crate::zmtp::link::Link;
use crate::zmtp::wire::{Decoder, Incoming, SocketType, Violation, encode};

/// Pause between attempts to write to a subscriber that does not read.
const STALLED_PAUSE: Duration = Duration::from_secs(1);

/// Serves one subscriber until it closes its connection or the door drains. A subscriber sends
/// nothing for long times: the setting `idle` does not apply to it.
pub(super) async fn serve(door: Arc<Door>, hub: Arc<Hub>, connection: Connection) {
    let Connection { stream, peer, open: _open } = connection;
    let talking = async {
        let Link { read, write, .. } =
            Link::open(SocketType::Pub, stream, door.settings().message).await?;
        let joined = hub.join();
        tokio::select! {
            ended = receive(read, &joined) => ended,
            ended = send(write, &joined) => match ended {
                Err(error) => Err(error.into()),
            },
        }
    };
    tokio::select! {
        ended = talking => {
            if let Err(violation) = ended {
                crate::zmtp::note(&door, &peer, &violation);
            }
        }
        () = door.draining() => {}
    }
}

async fn receive(
    mut read: FramedRead<ReadHalf<Stream>, Decoder>,
    joined: &Joined,
) -> Result<(), Violation> {
    while let Some(incoming) = read.next().await {
        match incoming? {
            Incoming::Subscribe(prefix) => joined.subscribe(&prefix)?,
            Incoming::Cancel(prefix) => joined.cancel(&prefix),
            Incoming::Ping(context) => joined.add(encode::pong(&context)),
            // The decoder passes on no messages to a publisher.
            Incoming::Ready { .. } | Incoming::Message(_) | Incoming::Pong => {}
        }
    }
    Ok(())
}

async fn send(mut write: WriteHalf<Stream>, joined: &Joined) -> io::Result<Infallible> {
    loop {
        let taken = joined.take().await;
        let mut rest = &taken[..];
        while !rest.is_empty() {
            match write.write(rest).await {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                // A subscriber that is stopped for a while stays: it loses messages, no connection.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => sleep(STALLED_PAUSE).await,
                Err(error) => return Err(error),
            }
        }
        write.flush().await?;
    }
}
