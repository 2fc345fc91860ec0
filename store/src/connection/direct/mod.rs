//! A connection without the driver's own task: its owner writes commands and reads their replies.
//! A reply then wakes the owner alone, and commands leave in one write.
//!
//! | file | holds |
//! |---|---|
//! | `stream.rs` | the socket |
//! | `tls.rs` | the trust of a TLS connection |
//! | `reply.rs` | the form of replies |

mod reply;
mod stream;
mod tls;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use redis::{Cmd, ConnectionInfo, RedisError, Value};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use self::reply::{Head, Malformed, head, reply};
use self::stream::Stream;
pub(super) use self::tls::trust;
use crate::driver::OrStore;
use crate::error::StoreError;

/// Bytes for which the buffer has room before each read. A buffer that had to grow is given back.
const READ: usize = 16 << 10;

/// A string of a reply, bounded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// There is none.
    Nil,
    /// Its bytes.
    Whole(Vec<u8>),
    /// It was longer than the limit, and its bytes were skipped.
    TooLarge,
}

/// See the module.
pub(crate) struct Direct {
    stream: Stream,
    /// Bytes that have arrived and are not read yet.
    input: Vec<u8>,
    /// Commands that are not sent yet.
    output: Vec<u8>,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

impl Direct {
    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// The error of the connection, or the refusal by Redis.
    pub(super) async fn connect(
        info: &ConnectionInfo,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, RedisError> {
        let stream = Stream::connect(info.addr(), tls).await?;
        let mut direct = Self { stream, input: Vec::with_capacity(READ), output: Vec::new() };
        let redis = info.redis_settings();
        let mut login = redis::pipe();
        if let Some(password) = redis.password() {
            login.cmd("AUTH").arg(redis.username()).arg(password);
        }
        if redis.db() != 0 {
            login.cmd("SELECT").arg(redis.db());
        }
        direct.run_all(&login).await?;
        Ok(direct)
    }

    /// Runs the commands of a pipeline; returns the values of their replies.
    ///
    /// # Errors
    ///
    /// The first error of Redis, after all replies are read; an error of the connection.
    pub(super) async fn run_all(
        &mut self,
        pipe: &redis::Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        pipe.cmd_iter().for_each(|command| self.add(command));
        self.send().await?;
        let mut values = Vec::with_capacity(pipe.len());
        for _ in 0..pipe.len() {
            values.push(self.next().await?);
        }
        values.into_iter().map(Value::extract_error).collect()
    }

    /// Adds a command to those of the next write.
    pub(crate) fn add(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.output);
    }

    /// Adds encoded commands to those of the next write.
    pub(crate) fn add_packed(&mut self, commands: &[u8]) {
        self.output.extend_from_slice(commands);
    }

    /// Sends the commands.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`]: Redis may have some of them.
    pub(crate) async fn write(&mut self) -> Result<(), StoreError> {
        self.send().await.map_err(RedisError::from).or_store()
    }

    async fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        self.stream.flush().await
    }

    /// Sends the commands as far as the socket takes them now. [`Poll::Pending`]: some are left,
    /// and the waker is called when this should be called again.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`]: Redis may have some of them.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StoreError>> {
        self.poll_send(context).map_err(|error| StoreError::of_driver(error.into()))
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        while sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.output.drain(..sent);
                    return Poll::Pending;
                }
            }
        }
        self.output.clear();
        // The layer of TLS may hold some bytes back.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Returns the next reply if it is there, as [`Direct::reply`].
    ///
    /// # Errors
    ///
    /// As [`Direct::reply`].
    pub(crate) fn poll_reply(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Value, StoreError>> {
        // Cancel safe, so a new future may continue for the last one.
        let reply = ready!(pin!(self.next()).poll(context));
        Poll::Ready(reply.or_store())
    }

    /// Returns the next reply; an error of Redis is a value. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`].
    pub(crate) async fn reply(&mut self) -> Result<Value, StoreError> {
        self.next().await.or_store()
    }

    async fn next(&mut self) -> Result<Value, RedisError> {
        loop {
            if let Some((value, len)) = reply(&self.input).map_err(|Malformed| malformed())? {
                self.consume(len);
                return Ok(value);
            }
            self.read().await?;
        }
    }

    /// Returns the next reply, a string or nil, of at most `max` bytes. Not cancel safe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Lost`]; the error of Redis.
    pub(crate) async fn element(&mut self, max: usize) -> Result<Element, StoreError> {
        self.next_element(max).await.or_store()
    }

    async fn next_element(&mut self, max: usize) -> Result<Element, RedisError> {
        loop {
            match head(&self.input).map_err(|Malformed| malformed())? {
                Some(Head::String { size, at }) if size > max => {
                    self.consume(at);
                    self.skip(size.saturating_add(2)).await?;
                    return Ok(Element::TooLarge);
                }
                Some(_) => match self.next().await?.extract_error()? {
                    Value::BulkString(bytes) => return Ok(Element::Whole(bytes)),
                    Value::Nil => return Ok(Element::Nil),
                    _ => return Err(malformed()),
                },
                None => self.read().await?,
            }
        }
    }

    async fn skip(&mut self, mut bytes: usize) -> io::Result<()> {
        loop {
            let now = bytes.min(self.input.len());
            self.consume(now);
            bytes -= now;
            if bytes == 0 {
                return Ok(());
            }
            self.read().await?;
        }
    }

    fn consume(&mut self, len: usize) {
        self.input.drain(..len);
        if self.input.is_empty() && self.input.capacity() > 4 * READ {
            self.input = Vec::with_capacity(READ);
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ);
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn malformed() -> RedisError {
    (redis::ErrorKind::Io, "the server's reply is not one of Redis").into()
}

#[cfg(test)]
mod tests;
