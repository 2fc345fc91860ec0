//! The kinds of polls that are counted.

/// One kind.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// How its requests end.
    pub(super) ending: Ending,
    /// The feature that its queue uses.
    pub(super) feature: Feature,
}

/// How a request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
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
    case("plain, answered", Ending::Answered, Feature::None),
    case("plain", Ending::Done, Feature::None),
    case("cancelled, answered", Ending::Answered, Feature::Cancelled),
    case("cancelled", Ending::Done, Feature::Cancelled),
    case("limited, answered", Ending::Answered, Feature::Limited(1)),
    case("limited", Ending::Done, Feature::Limited(1)),
    case("64 keys, answered", Ending::Answered, Feature::Limited(64)),
    case("parked, answered", Ending::Answered, Feature::Parked),
    case("run before, answered", Ending::Answered, Feature::RunBefore),
    case("retried", Ending::Retried, Feature::None),
    case("lane, answered", Ending::Answered, Feature::Lane),
    case("lane", Ending::Done, Feature::Lane),
];

const fn case(name: &'static str, ending: Ending, feature: Feature) -> Case {
    Case { name, ending, feature }
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
