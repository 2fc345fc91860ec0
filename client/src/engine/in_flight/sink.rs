//! The receiving end of a waiter, and the position of a stream.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};

use crate::error::CallError;

/// A frame, or the error that ends the wait.
pub(crate) type FrameResult = Result<Frame, CallError>;

/// Maximum frames, and bytes of their data, buffered in this process for one stream. A single
/// reader never reaches it: the writer blocks when half as many frames are unread in Redis. A
/// stream reaches it only if another reader trims faster.
const MAX_UNREAD: usize = 2_000;
const MAX_UNREAD_BYTES: usize = 128 << 20;

/// Buffered frames: passed on and not yet read. Written by both ends.
#[derive(Default)]
pub(super) struct Unread {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

/// The frames of one request, in order.
pub(crate) struct Frames {
    frames: mpsc::UnboundedReceiver<FrameResult>,
    unread: Arc<Unread>,
}

/// The receiving end of a waiter.
pub(super) enum Sink {
    /// Receives the final frame only.
    Final(oneshot::Sender<FrameResult>),
    /// Receives every frame. The channel is unbounded, since `unread` limits it.
    All {
        frames: mpsc::UnboundedSender<FrameResult>,
        unread: Arc<Unread>,
        next_seq: u64,
        attempt: u32,
        /// The `seq` of the first frame at the key; `None` if unknown.
        head: Option<u64>,
        /// `true` for another client's request: its key is never empty before its end.
        joined: bool,
        /// `true` if the key was empty at the last read.
        absent: bool,
    },
}

impl Frames {
    /// Polls for the next frame; `None` after the last.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        let received = self.frames.poll_recv(cx);
        if let Poll::Ready(Some(Ok(frame))) = &received {
            self.unread.note(frame, AtomicUsize::fetch_sub);
        }
        received
    }

    /// Returns the next frame if there is one.
    pub(crate) fn try_next(&mut self) -> Option<FrameResult> {
        let frame = self.frames.try_recv().ok()?;
        if let Ok(frame) = &frame {
            self.unread.note(frame, AtomicUsize::fetch_sub);
        }
        Some(frame)
    }
}

impl Unread {
    fn note(&self, frame: &Frame, add: fn(&AtomicUsize, usize, Ordering) -> usize) {
        add(&self.frames, 1, Ordering::Relaxed);
        add(&self.bytes, size(frame), Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.frames.load(Ordering::Relaxed) >= MAX_UNREAD
            || self.bytes.load(Ordering::Relaxed) >= MAX_UNREAD_BYTES
    }
}

fn size(frame: &Frame) -> usize {
    frame.data.as_ref().map_or(0, |data| data.get().len())
}

impl Sink {
    /// Returns a sink for every frame, starting at `from` (attempt and `seq`), and its receiver.
    pub(super) fn all(from: (u32, u64), head: Option<u64>, joined: bool) -> (Self, Frames) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let unread = Arc::new(Unread::default());
        let frames = Frames { frames: receiver, unread: unread.clone() };
        let ((attempt, next_seq), absent) = (from, false);
        (Self::All { frames: sender, unread, next_seq, attempt, head, joined, absent }, frames)
    }

    /// Ends the wait. The receiver may be dropped already.
    pub(super) fn end(self, result: FrameResult) {
        match self {
            Self::Final(sender) => drop(sender.send(result)),
            Self::All { frames, unread, .. } => {
                if let Ok(frame) = &result {
                    unread.note(frame, AtomicUsize::fetch_add);
                }
                drop(frames.send(result));
            }
        }
    }

    /// Returns the index at the key of the first frame not passed on; `None` if only the final
    /// frame is wanted.
    pub(super) fn reads_from(&self) -> Option<u64> {
        match self {
            Self::Final(_) => None,
            Self::All { next_seq, head, .. } => {
                Some(head.map_or(0, |head| next_seq.saturating_sub(head)))
            }
        }
    }

    pub(super) fn misses_one_before(&self, frame: &Frame) -> bool {
        match self {
            Self::Final(_) => false,
            Self::All { next_seq, attempt, .. } => match frame.attempt.cmp(attempt) {
                Order::Greater => frame.seq > 1,
                Order::Equal => frame.seq > *next_seq,
                Order::Less => false,
            },
        }
    }

    /// Passes on a frame that is not final; returns `false` if the reader is too far behind, which
    /// ends its stream.
    pub(super) fn pass(&mut self, frame: &Frame) -> bool {
        if self.misses_one_before(frame) {
            return true;
        }
        let Self::All { frames, unread, next_seq, attempt, head, absent, .. } = self else {
            return true;
        };
        let repeated =
            frame.attempt < *attempt || (frame.attempt == *attempt && frame.seq < *next_seq);
        if repeated {
            return true;
        }
        if unread.is_full() {
            let _ = frames.send(Err(CallError::trimmed(*next_seq)));
            return false;
        }
        if frame.attempt > *attempt {
            *head = None;
        }
        *attempt = frame.attempt;
        *next_seq = frame.seq + 1;
        *absent = false;
        unread.note(frame, AtomicUsize::fetch_add);
        let _ = frames.send(Ok(frame.clone()));
        true
    }

    /// Records the first frame at the key; returns `false` if the wanted frame is gone, which ends
    /// the stream. For an empty key this needs a joined request and two reads in a row, since the
    /// final frame may be in flight, taken by another reader.
    pub(super) fn finds(&mut self, first: Option<&Frame>) -> bool {
        let is_gone = match first {
            Some(first) => self.misses_one_before(first),
            None => match self {
                Self::All { joined: true, absent, .. } => std::mem::replace(absent, true),
                Self::All { .. } | Self::Final(_) => false,
            },
        };
        if let (true, Self::All { frames, next_seq, .. }) = (is_gone, &*self) {
            let _ = frames.send(Err(match first {
                Some(_) => CallError::trimmed(*next_seq),
                None => CallError::nothing_there(),
            }));
        }
        !is_gone
    }

    /// Records attempt and `seq` of the first frame at the key.
    pub(super) fn set_head(&mut self, known: Option<(u32, u64)>) {
        if let Self::All { attempt, head, .. } = self {
            *head = known.filter(|(of, _)| of == attempt).map(|(_, seq)| seq);
        }
    }
}
