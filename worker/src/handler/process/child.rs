//! One process of a pool: started, used for one request at a time, ended when dropped.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use redcall_common::error::Code;
use redcall_common::frame::FrameType;
use redcall_common::token::CompletionToken;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::job_stderr::Stderr;
use super::wire::{self, Deferral, Incoming};
use crate::handler::bounds::Bounds;
use crate::handler::error::{HandlerError, HandlerResult};
use crate::handler::paced::{LARGE, MESSAGES, Pace, Paced, SMALL_READS};
use crate::handler::program::Program;
use crate::handler::program::budget::Budget;
use crate::handler::program::group::Group;
use crate::run::deferred::DeferError;
use crate::run::progress_error::ProgressError;
use crate::run::request::Request;
use crate::time::until;

/// Allowance for a line beyond the answer in it, bytes.
const AROUND_ANSWER: usize = 4 << 10;
/// Most bytes of tokens that a process may leave unread before its own lines are left unread.
pub(super) const UNREAD_TOKENS: usize = 64 << 10;
/// How long to wait for the end of a process that has closed its stdout, or lost its stdin.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Start parameters and limits of a process.
pub(super) struct StartSettings {
    pub(super) program: Program,
    pub(super) bounds: Bounds,
    pub(super) start_timeout: Duration,
    pub(super) budget: Arc<Budget>,
}

/// A process that has started.
pub(super) struct Process {
    child: Child,
    group: Group,
    pub(super) stdin: ChildStdin,
    stderr: Stderr,
    pub(super) lines: FramedRead<Paced<Receiver>, LinesCodec>,
    /// The rate of lines that are neither an answer nor a part of one.
    pub(super) pace: Pace,
    pub(super) bounds: Bounds,
    /// Most requests at once, by its handshake.
    pub(super) concurrency: usize,
    last_id: u64,
    /// `true` if it has not read the whole request: it would read the next one as the rest.
    has_unread: bool,
}

/// The end of a request to a process.
pub(super) enum RequestEnd {
    /// The process can be used again.
    Done(HandlerResult),
    /// The process must not be used again.
    Broken(HandlerError),
}

/// The effect of a line that the process printed.
pub(super) enum LineEffect {
    Nothing,
    /// The line to send to the process.
    Token(Vec<u8>),
    Done(HandlerResult),
}

impl Process {
    /// Starts a process, and waits for its handshake.
    ///
    /// # Errors
    ///
    /// The reason of the failed start.
    pub(super) async fn start(start: &StartSettings) -> Result<Self, String> {
        let launched = start.program.launch().spawn();
        let (mut child, group) =
            launched.map_err(|error| format!("the process cannot be started: {error}"))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err("the process has no pipes".to_owned());
        };
        let pid = child.id().unwrap_or_default();
        let unread = |error: io::Error| format!("the process's pipes cannot be read: {error}");
        let stderr = Stderr::log(stderr, &start.budget, pid).map_err(unread)?;
        let bounds = start.bounds;
        let lines = LinesCodec::new_with_max_length(bounds.max_answer + AROUND_ANSWER);
        let is_free = |piece: &[u8]| piece.len() >= LARGE || piece.contains(&b'\n');
        let stdout = Paced::pipe(stdout.into_owned_fd(), SMALL_READS, is_free).map_err(unread)?;
        let lines = FramedRead::new(stdout, lines);
        let pace = Pace::new(MESSAGES);
        let (concurrency, last_id, has_unread) = (1, 0, false);
        let mut process = Self {
            child,
            group,
            stdin,
            stderr,
            lines,
            pace,
            bounds,
            concurrency,
            last_id,
            has_unread,
        };
        let limit = start.start_timeout;
        match timeout(limit, process.shake_hands()).await {
            Ok(started) => started.map(|()| process),
            Err(_) => Err(format!(
                "the process did not answer `$/start` within {limit:?} (start_timeout)"
            )),
        }
    }

    async fn shake_hands(&mut self) -> Result<(), String> {
        // A process that does not read shows by its missing answer.
        let _ = self.stdin.write_all(&wire::start()).await;
        loop {
            let Some(line) = self.lines.next().await else {
                return Err(format!(
                    "the process {} before it answered `$/start`",
                    self.how_it_ended().await
                ));
            };
            let line = line.map_err(|error| self.unreadable(&error))?;
            match wire::read(&line).map_err(|what| format!("the process printed {what}"))? {
                // An error is an answer, too: the server does not know `$/start`, and has started.
                Incoming::Answer(0, answer) => {
                    self.concurrency = wire::concurrency(&answer);
                    return Ok(());
                }
                Incoming::Other => {
                    self.pace.spend();
                    if let Some(at) = self.pace.next_at() {
                        sleep_until(at).await;
                    }
                }
                Incoming::Answer(..) | Incoming::Frame(..) | Incoming::Defer(_) => {
                    return Err("the process sent a response without a request".to_owned());
                }
            }
        }
    }

    /// Returns `true` if the process runs, and has printed nothing unexpected.
    pub(super) fn is_healthy(&mut self) -> bool {
        let is_silent = self.lines.next().now_or_never().is_none();
        is_silent && !self.has_unread && matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends the job's request, and waits for its end. Must only be dropped with the process.
    pub(super) async fn send_request(&mut self, request: &Request, grace: Duration) -> RequestEnd {
        self.last_id += 1;
        let id = self.last_id;
        self.stderr.begins(request).await;
        let mut unwritten = wire::request(id, request);
        // The part that belongs to the request: a process may answer before it has read all of it.
        let mut of_request = unwritten.len();
        let (mut give_up_at, mut is_slowed) = (None, false);
        loop {
            let unread_tokens = unwritten.len() - of_request;
            let paused_until = self.pace.next_at();
            if paused_until.is_some() && !is_slowed {
                is_slowed = true;
                let (id, name) = (request.id(), request.name());
                tracing::warn!(id, name, "reading a process slower: it prints too many messages");
            }
            tokio::select! {
                () = until(paused_until) => {}
                line = self.lines.next(),
                    if unread_tokens < UNREAD_TOKENS && paused_until.is_none() =>
                {
                    let message = match line {
                        None => return RequestEnd::Broken(self.died().await),
                        Some(Err(error)) => return RequestEnd::Broken(self.too_long(&error)),
                        Some(Ok(line)) => match self.handle_line(id, &line, request).await {
                            // Killed within a line: the rest of that line is not an answer.
                            Err(_) if self.is_at_its_end() => Err(self.died().await),
                            message => message,
                        },
                    };
                    match message {
                        Ok(LineEffect::Nothing) => {}
                        Ok(LineEffect::Token(line)) => unwritten.extend(line),
                        Ok(LineEffect::Done(result)) => {
                            self.has_unread |= !unwritten.is_empty();
                            self.stderr.ended();
                            return RequestEnd::Done(result);
                        }
                        Err(error) => return RequestEnd::Broken(error),
                    }
                }
                written = self.stdin.write(&unwritten), if !unwritten.is_empty() => {
                    match written {
                        Ok(written) => {
                            unwritten.drain(..written);
                            of_request = of_request.saturating_sub(written);
                        }
                        // The process has closed its stdin. Its output is still read.
                        Err(_) => {
                            unwritten.clear();
                            of_request = 0;
                            self.has_unread = true;
                        }
                    }
                }
                () = request.cancelled(), if give_up_at.is_none() => {
                    unwritten.extend(wire::cancel(id));
                    // The rest of the grace is between SIGTERM and SIGKILL.
                    give_up_at = Some(Instant::now() + grace / 2);
                }
                () = until(give_up_at) => {
                    self.group.end(&mut self.child, grace / 2).await;
                    let message = "the process ignored `$/cancel` for worker.cancel_grace";
                    return RequestEnd::Broken(HandlerError::with_code(Code::Cancelled, message));
                }
            }
        }
    }

    async fn handle_line(
        &mut self,
        id: u64,
        line: &str,
        request: &Request,
    ) -> Result<LineEffect, HandlerError> {
        let message = wire::read(line);
        if message.as_ref().is_ok_and(Incoming::is_paced) {
            self.pace.spend();
        }
        handle_line(id, message, request, self.bounds).await
    }

    fn is_at_its_end(&mut self) -> bool {
        matches!(self.lines.next().now_or_never(), Some(None))
    }

    /// Returns the error `worker_lost`: the part of the worker that ran the job has died.
    async fn died(&mut self) -> HandlerError {
        HandlerError::with_code(Code::WorkerLost, died(self).await)
    }

    async fn how_it_ended(&mut self) -> String {
        match timeout(EXIT_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) => format!("ended with {status}"),
            Ok(Err(error)) => format!("is gone ({error})"),
            Err(_) => "closed its stdout".to_owned(),
        }
    }

    fn too_long(&self, error: &LinesCodecError) -> HandlerError {
        match error {
            LinesCodecError::MaxLineLengthExceeded => too_large(self.bounds.max_answer),
            LinesCodecError::Io(_) => HandlerError::new(self.unreadable(error)),
        }
    }

    fn unreadable(&self, error: &LinesCodecError) -> String {
        unreadable(self.bounds.max_answer, error)
    }

    /// Closes its stdin, then sends SIGTERM, then SIGKILL. Takes twice [`EXIT_TIMEOUT`] at most.
    pub(super) async fn close(self) {
        let Self { mut child, group, stdin, .. } = self;
        drop(stdin);
        if timeout(EXIT_TIMEOUT, child.wait()).await.is_err() {
            group.end(&mut child, EXIT_TIMEOUT).await;
        }
    }
}

/// Handles a line, for the request of number `id`.
pub(super) async fn handle_line(
    id: u64,
    message: Result<Incoming<'_>, String>,
    request: &Request,
    bounds: Bounds,
) -> Result<LineEffect, HandlerError> {
    match message {
        // The size and the depth of an answer are checked where a job is settled.
        Ok(Incoming::Answer(of, answer)) if of == id => {
            Ok(LineEffect::Done(answer.map_err(HandlerError::of)))
        }
        Ok(Incoming::Frame(FrameType::Chunk, of, data)) if of == id => {
            bounds.check_depth(data.get().as_bytes())?;
            // Further lines are read when this part is sent: the process blocks meanwhile.
            match request.chunk(data).await {
                // The run is cancelled: the process gets `$/cancel`, and its grace.
                Ok(()) | Err(ProgressError::NotOwned) => Ok(LineEffect::Nothing),
                Err(error) => {
                    let message = format!("cannot send a part of the answer: {error}");
                    Err(HandlerError::new(message))
                }
            }
        }
        Ok(Incoming::Frame(_, of, data)) if of == id => {
            bounds.check_depth(data.get().as_bytes())?;
            // A lost progress frame does not end the job.
            if let Err(error) = request.progress(data).await {
                tracing::debug!(id = request.id(), %error, "cannot push a progress frame");
            }
            Ok(LineEffect::Nothing)
        }
        Ok(Incoming::Defer(deferral)) if deferral.id == id => {
            bounds.check_depth(deferral.data.map_or(b"", |data| data.get().as_bytes()))?;
            let token = defer(request, &deferral).await;
            let token = token.as_ref().map(CompletionToken::reveal).map_err(ToString::to_string);
            Ok(LineEffect::Token(wire::token(id, token.as_deref().map_err(String::as_str))))
        }
        Ok(Incoming::Other) => Ok(LineEffect::Nothing),
        Ok(
            Incoming::Answer(of, _)
            | Incoming::Frame(_, of, _)
            | Incoming::Defer(Deferral { id: of, .. }),
        ) => {
            let message =
                format!("the process sent a message about request {of}, but its request is {id}");
            Err(HandlerError::new(message))
        }
        Err(what) => Err(HandlerError::new(format!("the process printed {what}"))),
    }
}

/// Returns how a process ended.
pub(super) async fn died(process: &mut Process) -> String {
    format!("the process {}", process.how_it_ended().await)
}

/// Returns why the next line cannot be read; an answer in it may have `max_answer` bytes.
pub(super) fn unreadable(max_answer: usize, error: &LinesCodecError) -> String {
    match error {
        LinesCodecError::MaxLineLengthExceeded => {
            format!("the process printed a line over {max_answer} bytes (limits.answer)")
        }
        LinesCodecError::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            "the process printed text that is not UTF-8".to_owned()
        }
        LinesCodecError::Io(error) => format!("cannot read the process's stdout: {error}"),
    }
}

/// Defers a job's answer, and returns its completion token.
async fn defer(request: &Request, of: &Deferral<'_>) -> Result<CompletionToken, DeferError> {
    let limit = of.within_ms.map(Duration::from_millis);
    let data = of.data.unwrap_or(RawValue::NULL);
    match of.notify {
        true => request.defer_with_notification(data, limit).await,
        false => request.defer(data, limit).await,
    }
}

fn too_large(max: usize) -> HandlerError {
    let message = format!("the process answered with more than {max} bytes (limits.answer)");
    HandlerError::with_code(Code::TooLarge, message)
}
