//! The commands of consoles: one connection answers one command at a time, as REQ demands.
//!
//! A console that closes its connection withdraws its command. A command whose answer is deferred
//! is answered at once, and goes on without its console.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redcall_client::{Code, FrameStream, ResultKind, Update};
use serde_json::value::RawValue;

use super::command::{COMMAND, Command};
use super::errors;
use super::json::has_half_surrogate;
use super::link::Link;
use super::names::Names;
use super::reply::Reply;
use super::wire::address::ReturnPath;
use super::wire::{SocketType, Violation};
use crate::door::{Connection, Door, Failure};

/// The own time of a command's job: as long as a deferred answer may take. Its console waits for
/// the door's `timeout`.
const JOB_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Serves one console until it closes its connection or the door drains.
pub(super) async fn serve(door: Arc<Door>, names: Arc<Names>, connection: Connection) {
    let Connection { stream, peer, open: _open } = connection;
    let largest = door.settings().message;
    let opened = door.next(Link::open(SocketType::Rep, stream, largest)).await;
    let ended = match opened {
        Ok(Ok(link)) => Console { door: &door, names: &names, peer: &peer, link }.exchange().await,
        Ok(Err(violation)) => Err(violation),
        Err(_) => Ok(()),
    };
    if let Err(violation) = ended {
        super::note(&door, &peer, &violation);
    }
}

/// The most messages that wait on one connection.
const EARLY: usize = 16;

/// Messages that have come before the answer to an earlier one. A DEALER sends them; a REQ waits.
struct Early {
    messages: VecDeque<Vec<Bytes>>,
    /// Bytes of all of them, and their bound, which the last message may exceed.
    size: usize,
    largest: usize,
}

impl Early {
    fn new(largest: usize) -> Self {
        Self { messages: VecDeque::new(), size: 0, largest }
    }

    /// Returns `true` if the connection may be read while a command runs.
    fn has_room(&self) -> bool {
        self.messages.len() < EARLY && self.size < self.largest
    }

    fn add(&mut self, message: Vec<Bytes>) {
        self.size += size(&message);
        self.messages.push_back(message);
    }

    fn next(&mut self) -> Option<Vec<Bytes>> {
        let message = self.messages.pop_front()?;
        self.size -= size(&message);
        Some(message)
    }
}

fn size(message: &[Bytes]) -> usize {
    message.iter().map(Bytes::len).sum()
}

/// One connection of a console.
struct Console<'a> {
    door: &'a Door,
    names: &'a Names,
    peer: &'a str,
    link: Link,
}

impl Console<'_> {
    async fn exchange(mut self) -> Result<(), Violation> {
        let mut early = Early::new(self.door.settings().message);
        loop {
            let frames = match early.next() {
                Some(frames) => frames,
                None => match self.door.next(self.link.message()).await {
                    Ok(Some(frames)) => frames?,
                    Ok(None) | Err(_) => return Ok(()),
                },
            };
            let Some((path, body)) = ReturnPath::split(frames) else {
                // There is no way to answer it.
                self.door.refuse(self.peer, "malformed");
                continue;
            };
            let answering = answer(self.door, self.names, self.peer, &body);
            let mut answering = std::pin::pin!(answering);
            let reply = loop {
                tokio::select! {
                    biased;
                    reply = &mut answering => break reply,
                    // Notices that the console has gone; messages that come early have to wait.
                    next = self.link.message(), if early.has_room() => match next {
                        Some(frames) => early.add(frames?),
                        None => return Ok(()),
                    },
                }
            };
            self.link.send(&super::wire::encode::message(&path.answer(reply.as_bytes()))).await?;
        }
    }
}

/// Returns the answer to a message, as JSON. Dropping the future withdraws its request.
async fn answer(door: &Door, names: &Names, peer: &str, body: &[Bytes]) -> String {
    let command = match Command::read(body) {
        Ok(command) => command,
        Err(nonce) => {
            door.refuse(peer, "malformed");
            return errors::unrecognized(&nonce);
        }
    };
    match run(door, names, peer, &command).await {
        Ok((result, data)) => Reply::of(&command.nonce, command.number, result, data.get()).write(),
        Err(failure) => errors::answer(&command, &failure),
    }
}

/// Runs a command up to its answer, or to the word that the answer is deferred.
async fn run(
    door: &Door,
    names: &Names,
    peer: &str,
    command: &Command,
) -> Result<(ResultKind, Box<RawValue>), Failure> {
    let Some(job) = names.job_of(command) else {
        let number = command.number.to_string();
        let failure = Failure::unknown_job(&number);
        door.ended(&number, peer, "", Some(&failure));
        return Err(failure);
    };
    let mut id = String::new();
    let result = async {
        if has_half_surrogate(&command.data) {
            return Err(Failure::new(Code::InvalidData, "the data hold half a character"));
        }
        let data = RawValue::from_string(command.data.clone());
        let data = data.map_err(|_| Failure::new(Code::InvalidData, "the data are not JSON"))?;
        let request = door.waited_request(&job, &data, peer)?;
        let request = request.header(redcall_common::result_kind::NONCE, &command.nonce);
        let request = request.header(COMMAND, &command.number.to_string());
        // A gateway that is killed withdraws nothing: its commands must not start when their
        // consoles have given up, and perhaps repeated them.
        let request = request.start_within(door.settings().timeout);
        let request = request.require_worker().job_timeout(JOB_TIMEOUT);
        let stream = request.stream().await?;
        stream.id().clone_into(&mut id);
        followed(stream).await
    }
    .await;
    door.ended(&job, peer, &id, result.as_ref().err());
    result
}

async fn followed(mut stream: FrameStream) -> Result<(ResultKind, Box<RawValue>), Failure> {
    while let Some(update) = stream.next().await {
        match update? {
            Update::Done(response) => return Ok((ResultKind::Success, response.data)),
            Update::Deferred { data, notify, .. } => {
                stream.detach()?;
                let result = match notify {
                    true => ResultKind::DeferredWithNotification,
                    false => ResultKind::Deferred,
                };
                return Ok((result, data));
            }
            Update::Restarted { .. } | Update::Pending | Update::Progress(_) | Update::Chunk(_) => {
            }
        }
    }
    Err(Failure::new(Code::Internal, "the call ended without an answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_messages_are_bounded_in_number_and_bytes() {
        let message = |size| vec![Bytes::new(), Bytes::from(vec![0; size])];
        let mut early = Early::new(100);
        for _ in 0..EARLY {
            assert!(early.has_room());
            early.add(message(1));
        }
        assert!(!early.has_room());
        assert_eq!(early.next(), Some(message(1)));
        assert!(early.has_room());
        early.add(message(100));
        while early.next().is_some() {}
        assert!(early.has_room());
        early.add(message(100));
        assert!(!early.has_room());
    }
}
