//! The kinds of polls that are counted.

/// One kind.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// How its requests end.
    pub(super) outcome: OutcomeKind,
    /// The feature that its queue uses.
    pub(super) feature: Feature,
}

/// How a request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OutcomeKind {
    Answered,
    /// Fire and forget.
    Done,
    /// Failed, to be tried again in an hour.
    Retried,
}

/// The feature that a queue uses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Feature {
    /// None: `poll_fast.lua` serves it.
    None,
    /// Another request of the queue was cancelled.
    Cancelled,
    /// All requests were run before.
    RunBefore,
    /// All requests are parked, and this worker handles their name.
    Parked,
    /// The name has a limit, whose key has this number of values.
    Limited(u32),
    /// None, and a lane takes the requests of each poll; if it is one, by a pop.
    Lane,
}

/// The registry.
pub(super) const CASES: [Case; 12] = [
    case("plain, answered", OutcomeKind::Answered, Feature::None),
    case("plain", OutcomeKind::Done, Feature::None),
    case("cancelled, answered", OutcomeKind::Answered, Feature::Cancelled),
    case("cancelled", OutcomeKind::Done, Feature::Cancelled),
    case("limited, answered", OutcomeKind::Answered, Feature::Limited(1)),
    case("limited", OutcomeKind::Done, Feature::Limited(1)),
    case("64 keys, answered", OutcomeKind::Answered, Feature::Limited(64)),
    case("parked, answered", OutcomeKind::Answered, Feature::Parked),
    case("run before, answered", OutcomeKind::Answered, Feature::RunBefore),
    case("retried", OutcomeKind::Retried, Feature::None),
    case("lane, answered", OutcomeKind::Answered, Feature::Lane),
    case("lane", OutcomeKind::Done, Feature::Lane),
];

const fn case(name: &'static str, outcome: OutcomeKind, feature: Feature) -> Case {
    Case { name, outcome, feature }
}

/// The number of requests that a poll settles and leases, and of polls.
pub(super) struct Size {
    pub(super) requests: u32,
    /// Polls before those that are counted: the first one settles nothing, and leases more
    /// expensively.
    pub(super) warm_up: u32,
    /// Polls that are counted.
    pub(super) polls: u32,
}

/// A busy worker, and an idle one.
pub(super) const SIZES: [Size; 2] =
    [Size { requests: 64, warm_up: 3, polls: 24 }, Size { requests: 1, warm_up: 20, polls: 400 }];
