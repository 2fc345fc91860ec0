//! Pushing requests on a direct connection: the caller writes, one task reads.
//!
//! Both use the connection under a lock of the client. Redis answers in the order of the commands,
//! so the client keeps a [`PushForm`] per push, in order.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use redcall_common::keys::QueueKeys;
use redis::Value;
use tokio::sync::watch;

use super::push::{PushChecks, PushReply, add_checks, add_pushes, push_reply};
use crate::connection::{Connector, Direct, Peer};
use crate::error::{Cause, StoreError};

/// Opens direct connections for pushes, one after the other.
#[derive(Debug)]
pub struct DirectOpener {
    connector: Connector,
    /// The server of the last connection, and its id there.
    last: Option<(Peer, i64)>,
    /// Changes when another connection is lost after the last one was opened.
    losses: watch::Receiver<u64>,
}

/// Why a direct connection must not be used for further pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The server is not the primary any more: the replies that are left may never come.
    Moved,
    /// Another connection was lost, and this one may be, too: the replies that are left may come.
    OtherLost,
}

/// A direct connection for pushes.
#[derive(Debug)]
pub struct DirectPush {
    direct: Direct,
    /// The replies to the commands of the oldest push, as far as they have come.
    replies: Vec<Result<Value, StoreError>>,
}

/// The form of the replies to one push.
#[derive(Debug, PartialEq, Eq)]
pub struct PushForm {
    forgets: bool,
    /// The number of elements of each command.
    counts: Vec<usize>,
    checks: PushChecks,
}

/// A push.
#[derive(Debug, Clone, Copy)]
pub struct DirectWrite<'a> {
    /// The queue.
    pub keys: &'a QueueKeys,
    /// The elements, in order. There may be none.
    pub elements: &'a [&'a str],
    /// The checks behind them.
    pub checks: PushChecks,
    /// Response keys of the queue to be deleted.
    pub forget: &'a [String],
    /// Redis time.
    pub now_ms: u64,
}

impl DirectOpener {
    /// Does not connect.
    #[must_use]
    pub fn new(connector: Connector) -> Self {
        let losses = connector.losses();
        Self { connector, last: None, losses }
    }

    /// Connects. Redis closes the previous connection before, so that it executes no more of its
    /// commands.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn open(&mut self) -> Result<DirectPush, StoreError> {
        self.losses.mark_unchanged();
        let previous = self.last.as_ref().map_or(0, |(_, id)| *id);
        let (direct, peer, id) = self.connector.open_direct(previous, &[]).await?;
        self.last = Some((peer, id));
        Ok(DirectPush { direct, replies: Vec::new() })
    }

    /// Returns when the last connection must not be used for further pushes. Cancel safe.
    pub async fn doubt(&mut self) -> Doubt {
        let Self { connector, last, losses } = self;
        let moved = async {
            match last {
                Some((peer, _)) => connector.moved(peer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = moved => Doubt::Moved,
            // The sender lives as long as the connector.
            _ = losses.changed() => Doubt::OtherLost,
        }
    }

    /// Notifies the other connections of the loss of the last one: they may be lost, too.
    pub fn note_loss(&self) {
        self.connector.lost_one();
    }

    /// Returns how long a reply may take.
    #[must_use]
    pub fn response_timeout(&self) -> Duration {
        self.connector.response_timeout()
    }
}

impl DirectPush {
    /// Returns the error of pushes whose connection is given up.
    #[must_use]
    pub fn given_up() -> StoreError {
        let kind = (redis::ErrorKind::Io, "the connection was given up");
        StoreError::Lost(Cause::of_driver(kind.into()))
    }

    /// Adds a push to the next write, as [`SendOps::push`](crate::SendOps::push).
    pub fn add(&mut self, write: &DirectWrite<'_>) -> PushForm {
        let DirectWrite { keys, elements, checks, forget, now_ms } = *write;
        let mut pipe = redis::pipe();
        if !forget.is_empty() {
            pipe.cmd("UNLINK").arg(forget);
        }
        let counts = add_pushes(&mut pipe, &keys.queue(), elements);
        add_checks(&mut pipe, keys, checks, now_ms);
        pipe.cmd_iter().for_each(|command| self.direct.add(command));
        PushForm { forgets: !forget.is_empty(), counts, checks }
    }

    /// Writes what was added, as far as the socket takes it now. [`Poll::Pending`]: the waker is
    /// called when this should be called again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`]: the elements may have been queued.
    pub fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        self.direct.poll_write(context)
    }

    /// Returns the reply to the oldest push, which has this form.
    ///
    /// # Errors
    ///
    /// After an error the connection is of no use, and no reply of a later push will come.
    pub fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
        form: &PushForm,
    ) -> Poll<Result<PushReply, StoreError>> {
        while self.replies.len() < form.replies() {
            let value = ready!(self.direct.poll_reply(context))?;
            self.replies.push(value.extract_error().map_err(StoreError::of_driver));
        }
        let mut replies = self.replies.drain(..);
        if form.forgets {
            // On failure, the keys expire by their TTL.
            replies.next();
        }
        Poll::Ready(push_reply(form.counts.clone(), form.checks, &mut replies))
    }

    /// Waits for the end of a connection on which no reply is expected.
    pub fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<StoreError> {
        let reply = ready!(self.direct.poll_reply(context));
        Poll::Ready(reply.err().unwrap_or(StoreError::Unexpected("no command")))
    }
}

impl PushForm {
    fn replies(&self) -> usize {
        let PushChecks { workers, marks } = self.checks;
        usize::from(self.forgets) + self.counts.len() + usize::from(workers) + usize::from(marks)
    }
}
