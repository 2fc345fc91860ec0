//! [`Step`]: all that can happen next.

use super::script::Script;
use crate::store::{Id, Inbox, WorkerId};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A caller calls for the next request.
    Call,
    /// A caller withdraws one; `true` if its worker is notified at once.
    Cancel(Id, bool),
    /// A request becomes due, and a worker moves it.
    Promote(Id),
    /// A worker sends a blocked pop.
    Pop(WorkerId),
    /// Redis serves it.
    Moves(WorkerId),
    /// The script after it runs.
    Leases(WorkerId),
    /// It ends without an element.
    PopEnds(WorkerId),
    /// Its reply arrives.
    ReceivePop(WorkerId),
    /// A worker sends a poll.
    Send(WorkerId),
    /// The worker's leases are read back before it.
    ReadBack(WorkerId),
    /// The script runs.
    PollStep(WorkerId),
    /// Its reply arrives.
    ReceivePoll(WorkerId),
    /// A handler begins.
    Begin(WorkerId, Id),
    /// It ends; `true` if it succeeds.
    End(WorkerId, Id, bool),
    /// A worker sends a heartbeat, and receives the reply.
    Beat(WorkerId),
    /// The lease of a worker without heartbeats ends.
    LeaseEnds(WorkerId),
    /// Another worker takes over its leases; if it has crashed, its lease ends before.
    TakeOver(WorkerId),
    /// The reply to a pop, or the pop, is lost.
    LosePop(WorkerId),
    /// The reply to a poll is lost.
    LosePoll(WorkerId),
    /// A worker crashes, another is started; `true` if Redis still runs the script of its pop.
    Crash(WorkerId, bool),
    /// A worker is stopped.
    Stop(WorkerId),
    /// It continues.
    Go(WorkerId),
    /// A worker writes to its lane.
    LaneSends(WorkerId),
    /// Redis serves the lane's blocked pop.
    LaneMoves(WorkerId),
    /// Redis runs the next command of a lane.
    LaneRuns(WorkerId),
    /// The worker reads the next reply of its lane.
    LaneReceives(WorkerId),
    /// The lane's blocked pop ends without an element.
    LanePopEnds(WorkerId),
    /// The first millisecond of a job has passed: its inbox is adopted.
    LaneAges(WorkerId, Inbox),
    /// The lane's connection is lost; another one replaces it.
    LoseLane(WorkerId),
    /// A worker of before lanes takes over another worker's leases.
    OldTakeOver(WorkerId),
    /// A script fails, in one of the ways that it can.
    Fails(Script, u8),
}

impl Step {
    /// Returns `true` if it is a new call, a fault, or the end of one: nothing that has to come.
    pub(super) fn is_free(self) -> bool {
        matches!(
            self,
            Self::Call
                | Self::Cancel(..)
                | Self::LosePop(_)
                | Self::LosePoll(_)
                | Self::Crash(..)
                | Self::Stop(_)
                | Self::Go(_)
                | Self::LoseLane(_)
                | Self::OldTakeOver(_)
                | Self::Fails(..)
        )
    }

    /// Returns `true` if it is the effect of a command.
    pub(super) fn is_reply(self) -> bool {
        use Step::{Begin, Moves, PollStep, Pop, ReadBack, ReceivePoll, ReceivePop, Send};
        let own = matches!(self, Send(_) | ReadBack(_) | PollStep(_) | ReceivePoll(_) | Begin(..));
        let lane = matches!(
            self,
            Self::LaneSends(_) | Self::LaneRuns(_) | Self::LaneReceives(_) | Self::LaneMoves(_)
        );
        own || lane || matches!(self, Pop(_) | Moves(_) | ReceivePop(_))
    }
}
