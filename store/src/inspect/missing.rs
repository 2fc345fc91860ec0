//! The rights that the user of a connection lacks.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::{Cmd, Value};

use super::inspector::Inspector;
use super::rights::{MissingRight, Role, as_checked, missing};
use crate::connection::Connection;
use crate::error::StoreError;
use crate::ops::shared::rights::{RIGHTS, call, refused};
use redcall_common::keys::{Keys, QueueKeys};

/// The check of one queue.
struct RightsCheck {
    keys: QueueKeys,
    commands: &'static [String],
}

impl RightsCheck {
    fn new(role: Role, keys: QueueKeys) -> Self {
        Self { keys, commands: role.commands() }
    }

    fn call(&self) -> Cmd {
        call(&self.keys, self.commands.iter().map(|command| as_checked(command)))
    }

    fn missing(&self, value: Value) -> Result<BTreeSet<MissingRight>, StoreError> {
        let refused = refused(value)?.into_iter();
        let refused = refused.filter_map(|place| self.commands.get(place.checked_sub(1)?));
        Ok(missing(&self.keys, self.commands, &refused.map(String::as_str).collect()))
    }
}

impl Connection {
    pub(crate) async fn missing_rights(
        &self,
        role: Role,
        keys: &Keys,
        queues: &[&str],
        timeout: Duration,
    ) -> Result<Vec<MissingRight>, StoreError> {
        let mut all = BTreeSet::new();
        for queue in queues {
            let check = RightsCheck::new(role, keys.of(queue));
            all.extend(check.missing(self.run(&RIGHTS, &check.call(), timeout).await?)?);
        }
        Ok(needed_first(all))
    }
}

impl Inspector {
    /// As [`crate::CheckOps::missing_rights`], over its own connection.
    ///
    /// # Errors
    ///
    /// If Redis cannot be reached or refuses.
    pub async fn missing_rights(
        &self,
        role: Role,
        queues: &[&str],
    ) -> Result<Vec<MissingRight>, StoreError> {
        let mut conn = self.connection().await?;
        let mut all = BTreeSet::new();
        for queue in queues {
            let check = RightsCheck::new(role, self.keys.of(queue));
            all.extend(check.missing(RIGHTS.run(&mut conn, &check.call()).await?)?);
        }
        Ok(needed_first(all))
    }
}

fn needed_first(all: BTreeSet<MissingRight>) -> Vec<MissingRight> {
    let (mut needed, useful): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.is_needed);
    needed.extend(useful);
    needed
}
