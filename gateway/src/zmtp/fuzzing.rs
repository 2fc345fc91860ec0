//! The readers of foreign JSON, for the fuzz target `zmtp`.

use bytes::Bytes;
use redcall_client::ResultKind;

use super::command::Command;
use super::reply::{self, Reply};
use super::{errors, event};

/// Returns the answer to the body of a command: its own data, or the answer to a message that is
/// not a command.
#[must_use]
pub fn answer(body: &[u8]) -> String {
    match Command::read(&[Bytes::copy_from_slice(body)]) {
        Ok(command) => {
            Reply::of(&command.nonce, command.number, ResultKind::Success, &command.data).write()
        }
        Err(nonce) => errors::unrecognized(&nonce),
    }
}

/// Reads the answer of a device to the command with this nonce; returns its data.
#[must_use]
pub fn answered(body: &[u8], nonce: &str) -> Option<String> {
    reply::read(body, nonce).ok().map(|data| data.get().to_owned())
}

/// Reads the event of a device; returns its kind and its context.
#[must_use]
pub fn event(topic: u32, body: &[u8]) -> Option<(u32, String)> {
    event::read(topic, body).map(|event| (event.kind.0, event.context))
}
