//! `rights.lua`: the commands that the user of a connection may not run.

use redis::{Cmd, Value};

use crate::error::StoreError;
use crate::ops::reply::{Whole, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;

script! {
    /// Report the commands that the user may not run.
    RIGHTS = "shared/rights", Reads, of Admin, Worker;
    read |value, _| refused(value).map(Reading::list)
}

/// Builds the call that checks `commands`, with their arguments, on one queue.
pub(crate) fn call(keys: &QueueKeys, commands: impl Iterator<Item = String>) -> Cmd {
    let mut call = RIGHTS.call(&[] as &[&str]);
    call.arg(keys.queue()).arg(keys.control());
    for command in commands {
        call.arg(command);
    }
    call
}

/// Reads the script's reply: positions, from 1.
pub(crate) fn refused(value: Value) -> Result<Vec<usize>, StoreError> {
    let places: Vec<Whole> = read("rights", value)?;
    Ok(places.iter().map(Whole::count).collect())
}
