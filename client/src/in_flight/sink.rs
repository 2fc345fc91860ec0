//! Where a waiter's frames go, and how far a stream has come.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use redcall_common::frame::Frame;
use tokio::sync::{mpsc, oneshot};

use crate::error::CallError;

/// What a waiter gets.
pub(crate) type FinalFrame = Result<Frame, CallError>;

/// Most frames, and bytes of their data, that lie in this process for one stream. Alone, a reader
/// never has so many: the writer stops when half as many frames lie unread at Redis, and their
/// sizes fall as their number grows. Only beside another one, which trims them, can it fall so far
/// behind.
const MAX_UNREAD: usize = 2_000;
const MAX_UNREAD_BYTES: usize = 128 << 20;

/// What was passed on and not yet read. Written by both ends.
#[derive(Default)]
pub(super) struct Unread {
    frames: AtomicUsize,
    bytes: AtomicUsize,
}

/// The frames of one request, as they are passed on.
pub(crate) struct Frames {
    frames: mpsc::UnboundedReceiver<FinalFrame>,
    unread: Arc<Unread>,
}

/// Where a waiter's frames go.
pub(super) enum Sink {
    /// Only the result frame is wanted.
    Final(oneshot::Sender<FinalFrame>),
    /// Every frame is wanted. The channel is unbounded, since `unread` bounds it.
    All {
        frames: mpsc::UnboundedSender<FinalFrame>,
        unread: Arc<Unread>,
        next_seq: u64,
        attempt: u32,
        /// The `seq` of the first frame that lies at the key, while that is certain.
        head: Option<u64>,
        /// Whether somebody else has asked for them: then something lies at the key until its end.
        joined: bool,
        /// Whether nothing lay there at the last look.
        absent: bool,
    },
}

impl Frames {
    /// The next frame; `None` after the last.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<FinalFrame>> {
        let received = self.frames.poll_recv(cx);
        if let Poll::Ready(Some(Ok(frame))) = &received {
            self.unread.note(frame, AtomicUsize::fetch_sub);
        }
        received
    }

    /// The next frame, if one is there.
    pub(crate) fn try_next(&mut self) -> Option<FinalFrame> {
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
    /// For every frame, the first of them `from` (attempt and `seq`), and where it comes out.
    pub(super) fn all(from: (u32, u64), head: Option<u64>, joined: bool) -> (Self, Frames) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let unread = Arc::new(Unread::default());
        let frames = Frames { frames: receiver, unread: unread.clone() };
        let ((attempt, next_seq), absent) = (from, false);
        (Self::All { frames: sender, unread, next_seq, attempt, head, joined, absent }, frames)
    }

    /// Sends to a receiver that may have gone; that is its right.
    pub(super) fn end(self, result: FinalFrame) {
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

    /// Where the first frame lies at the key that has not been passed on; none if only the result
    /// one is wanted.
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

    /// Passes a frame on that does not end the request; `false` if its reader is so far behind
    /// that it has been told to give up.
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

    /// Hears which frame is the first that lies at the key now; `false` if what it wants is gone,
    /// and it has been told so. Of a key without any that counts for who has joined only, and when
    /// it was so before: the end may be on its way, and somebody else have taken it.
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

    /// Notes what is known of the first frame at the key: its attempt and `seq`.
    pub(super) fn set_head(&mut self, known: Option<(u32, u64)>) {
        if let Self::All { attempt, head, .. } = self {
            *head = known.filter(|(of, _)| of == attempt).map(|(_, seq)| seq);
        }
    }
}
