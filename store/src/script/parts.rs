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
        NODES = "nodes",
        PRELUDE = "prelude",
        RECORD = "record",
        ROOM = "room",
        SCAN = "scan",
        STATUS = "status",
        UNDO = "undo";
    /// Answers: their keys, their bytes, calls under one idempotency key.
    "answers":
        ANSWERS = "answers",
        BYTES = "bytes",
        CALLS = "calls",
        CANCELLED_CALL = "cancelled_call",
        DEFERRED = "deferred",
        JOINED = "joined",
        KEPT = "kept";
    /// Polls: settling, leasing, limits.
    "poll":
        FLAGS = "flags",
        LANE_REFUSAL = "lane_refusal",
        LEASES = "leases",
        LIMITS = "limits",
        OUTCOMES = "outcomes",
        POLL_COMMON = "poll_common",
        POPS = "pops",
        REFUSAL = "refusal",
        SIZES = "sizes",
        SORTED = "sorted",
        SPECIAL = "special",
        UNUSUAL = "unusual";
}
