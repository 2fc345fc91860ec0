//! The process group of a command: the command and its descendants that stayed in the group.

use std::time::Duration;

use redcall_common::leash::{Held, Leash};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// How often to check whether a group is empty: processes that are not direct children send no
/// signal at their end.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// A process group, ended when this is dropped.
pub(crate) struct Group {
    id: Option<Pid>,
    /// Ends the group if this worker is killed. Dropped after [`Group`]'s own end.
    _held: Option<Held>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // The group may have ended by itself.
        self.send(Signal::KILL);
    }
}

impl Group {
    /// Returns the group that `leader` leads.
    pub(crate) fn of(leader: &Child, leash: &Leash) -> Self {
        let held = leader.id().map(|id| leash.hold_group(id));
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self { id: id.and_then(Pid::from_raw), _held: held }
    }

    /// Sends SIGTERM to the group, and waits until it is empty, for `grace` at most.
    ///
    /// To the whole group: a shell ends at once, but the program that it started may need the time.
    /// Dropping the future leaves the group as it is.
    pub(crate) async fn end(&self, leader: &mut Child, grace: Duration) {
        self.send(Signal::TERM);
        let empty = async {
            // A zombie would count as a member.
            let _ = leader.wait().await;
            while self.id.is_some_and(|group| test_kill_process_group(group).is_ok()) {
                sleep(CHECK_INTERVAL).await;
            }
        };
        let _ = timeout(grace, empty).await;
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.id {
            let _ = kill_process_group(group, signal);
        }
    }
}
