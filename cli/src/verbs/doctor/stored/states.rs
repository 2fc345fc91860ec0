//! Signatures of service states: whether a worker wrote each state.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::auth::{Forged, Keyring};
use redcall_common::finding::{Finding, Level};

use crate::output::line;
use crate::verbs::doctor::workers::listed;

const CHECK: &str = "states";

/// Checks these states: queue and instance. No finding without keys.
pub(crate) async fn check(
    inspector: &Inspector,
    settings: &Settings,
    states: &[(String, String)],
) -> Result<Option<Finding>, StoreError> {
    let Some(keyring) = settings.auth.as_ref().map(Keyring::new) else { return Ok(None) };
    let (mut forged, mut unknown) = (Vec::new(), 0_usize);
    for (queue, instance) in states {
        // It may have ended in the meantime.
        let Some(found) = inspector.instance_state(queue, instance).await? else { continue };
        match found.judge(&keyring, queue, instance) {
            Ok(()) => {}
            // These settings may have fewer keys than the workers.
            Err(Forged::Key(_)) => unknown += 1,
            Err(Forged::Wrong | Forged::Unsigned) => {
                forged.push(format!("`{}` on {}", line(instance, 64), line(queue, 80)));
            }
        }
    }
    let judged = states.len() - unknown;
    if forged.is_empty() {
        let others =
            if unknown > 0 { format!(", {unknown} under other keys") } else { String::new() };
        return Ok(Some(Finding::ok(CHECK, format!("{judged} with a valid signature{others}"))));
    }
    forged.sort_unstable();
    let what = format!("without a valid signature: {}", listed(&forged));
    let means = "Another program changed these states, or they are older than `[auth]`. Workers \
                 answer requests to them with `internal`.";
    let cure = "Find the program that writes there, then DEL the key of the state (see the \
                worker's log) and initialize the instance again. For states older than `[auth]`, \
                see `auth.required`.";
    Ok(Some(Finding::new(CHECK, Level::Problem, what, means, cure)))
}
