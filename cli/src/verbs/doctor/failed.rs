//! Checks that failed, and their time limit.

use std::time::Duration;

use redcall_client::StoreError;
use redcall_common::finding::{Finding, Level};
use redcall_common::report::Problem;

/// Maximum time of all checks of Redis together.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(6);

/// The finding for a check that failed.
pub(super) fn unknown(check: &'static str, error: &StoreError) -> Finding {
    let what = format!("check failed: {}", with_causes(error));
    Finding::new(check, Level::Problem, what, "The result of this check is unknown.", error.help())
}

pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    Problem::of(error).whole()
}
