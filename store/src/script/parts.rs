//! The parts that several scripts share, by file of `lua/parts/`.

macro_rules! parts {
    ($($(#[doc = $doc:literal])+ $folder:literal: $($name:ident = $file:literal),+;)+) => {
        $($(
            pub(crate) const $name: &str =
                include_str!(concat!("../lua/parts/", $folder, "/", $file, ".lua"));
        )+)+
    };
}

parts! {
    /// Needed everywhere: the clock, undoing steps, reading envelopes.
    "common":
        LIVE = "live",
        NEED = "need",
        NODES = "nodes",
        PRELUDE = "prelude",
        RECORD = "record",
        ROOM = "room",
        FIND = "scan",
        SCANNED = "scanned",
        STATUS = "status",
        STEPS = "steps",
        UNDO_STEPS = "undo";
    /// Answers: their keys, their bytes, calls under one idempotency key.
    "answers":
        BYTES = "bytes",
        CALLS = "calls",
        CANCELLED_CALL = "cancelled_call",
        DEAD = "dead",
        DEFERRED = "deferred",
        JOINED = "joined",
        KEPT = "kept",
        PUSH = "answers";
    /// Polls: settling, leasing, limits.
    "poll":
        BOUNDS = "bounds",
        SETTLEMENTS = "settlements",
        EXCEPTIONS = "exceptions",
        FREE = "free",
        LANE_UNUSUAL = "lane_unusual",
        LEASING = "leasing",
        PERMITS = "permits",
        PLACES = "places",
        OUTCOMES = "outcomes",
        POLL_COMMON = "poll_common",
        REFUSAL = "refusal",
        SIZES = "sizes",
        PARTITIONS = "partitions",
        RETURNS = "returns",
        SPECIAL = "special",
        STATE = "state",
        TO_LISTS = "limits",
        UNUSUAL = "unusual";
}

/// Joins parts that most scripts need together. A poll needs some of them only in rare cases.
macro_rules! joined {
    ($($name:ident = $($file:literal),+;)+) => {
        $(pub(crate) const $name: &str =
            concat!($(include_str!(concat!("../lua/parts/", $file, ".lua"))),+);)+
    };
}

joined! {
    ANSWERS = "answers/dead", "answers/answers";
    LIMITS = "poll/permits", "poll/limits";
    SCAN = "common/scanned", "common/scan";
    UNDO = "common/steps", "common/undo", "common/need";
}
