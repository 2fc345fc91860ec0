//! States of services, where signatures count: whether a worker has left each as it is.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::auth::{Forged, Keyring};
use redcall_common::finding::{Finding, Level};

use super::workers::listed;
use crate::output::line;

const CHECK: &str = "states";

/// Looks at these states: queue and instance. Nothing to say without keys.
pub(super) async fn look(
    inspector: &Inspector,
    settings: &Settings,
    states: &[(String, String)],
) -> Result<Option<Finding>, StoreError> {
    let Some(keyring) = settings.auth.as_ref().map(Keyring::new) else { return Ok(None) };
    let (mut forged, mut unknown) = (Vec::new(), 0_usize);
    for (queue, instance) in states {
        // It may have ended meanwhile.
        let Some(found) = inspector.instance_state(queue, instance).await? else { continue };
        match found.judge(&keyring, queue, instance) {
            Ok(()) => {}
            // These settings may know fewer keys than the workers.
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
        return Ok(Some(Finding::ok(
            CHECK,
            format!("{judged} are as a worker has left them{others}"),
        )));
    }
    forged.sort_unstable();
    let what = format!("not as a worker has left them: {}", listed(&forged));
    let means = "Another program has changed these states, or they are older than `[auth]`. No \
                 worker runs a task on them: it answers `internal`.";
    let cure = "Find the program that writes there, then DEL the key of the state (a worker's log \
                has it) and initialize the instance again. States older than `[auth]`: see \
                `auth.required`.";
    Ok(Some(Finding::new(CHECK, Level::Problem, what, means, cure)))
}
