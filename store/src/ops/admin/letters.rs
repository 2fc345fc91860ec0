//! `letters.lua`: read dead letters; and deleting them, with a plain command.

use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::dead::letter::DeadLetter;
use crate::driver::OrStore;
use crate::error::StoreError;
use crate::ops::reply::{StreamEntry, read};
use crate::script::{Reading, script};
use redcall_common::keys::QueueKeys;
use redcall_common::limits::COMMAND_BYTES;

script! {
    /// Read dead letters.
    LETTERS = "admin/letters", Runs, of Admin;
    read |value, _| batch(value).map(|batch| Reading::list(batch.letters))
}

/// The maximum number of letters that one command reads or deletes.
pub(crate) const LETTERS_AT_ONCE: usize = 1000;

/// A range of entries.
#[derive(Debug, Clone)]
pub struct LetterRange {
    /// The first entry: an entry id, `-` or `+`; a leading `(` excludes the entry.
    pub from: String,
    /// The last entry, in the same form.
    pub to: String,
    /// `true` to read backwards: `from` is the newer end.
    pub newest_first: bool,
}

/// A batch of dead letters.
#[derive(Debug)]
pub struct LetterBatch {
    /// The letters, in the order of the range.
    pub letters: Vec<DeadLetter>,
    /// `true` if the range was read to its end.
    pub whole: bool,
}

/// Reads the first letters of `range`, up to `max` (1,000 at most) and 8 MiB.
pub(crate) async fn letters(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
    range: &LetterRange,
    max: usize,
) -> Result<LetterBatch, StoreError> {
    let mut call = LETTERS.call(&[keys.dead()]);
    call.arg(&range.from).arg(&range.to).arg(if range.newest_first { "1" } else { "0" });
    call.arg(max.min(LETTERS_AT_ONCE)).arg(COMMAND_BYTES);
    batch(LETTERS.run(conn, &call).await?)
}

/// Reads the script's reply.
pub(crate) fn batch(value: Value) -> Result<LetterBatch, StoreError> {
    let (entries, whole): (Vec<StreamEntry>, i64) = read("letters", value)?;
    let letters = entries.into_iter().map(|(entry, fields)| DeadLetter::read(entry, fields));
    Ok(LetterBatch { letters: letters.collect(), whole: whole == 1 })
}

/// Deletes letters. Returns `true` for each that still existed.
pub(crate) async fn remove(
    conn: &mut MultiplexedConnection,
    keys: &QueueKeys,
    entries: &[String],
) -> Result<Vec<bool>, StoreError> {
    let mut pipe = redis::pipe();
    for entry in entries {
        pipe.cmd("XDEL").arg(keys.dead()).arg(entry);
    }
    pipe.query_async(conn).await.or_store()
}
