//! Going through the dead letters of a queue, in portions, and picking out those that are meant.

use std::collections::{HashSet, VecDeque};

use redis::aio::MultiplexedConnection;

use super::letter::{DeadLetter, entry_time};
use crate::error::StoreError;
use crate::ops::letters::{LETTERS_AT_ONCE, Range, letters};
use redcall_common::error::Code;

/// Which dead letters are meant: those of which all holds that is said here. The default says
/// nothing and means all of them, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadSelection {
    /// Only these, if there are any: by their entry, or by the request's id, which means every
    /// letter of that request.
    pub ids: Vec<String>,
    /// Only those that died of this.
    pub code: Option<Code>,
    /// Only those of this job.
    pub name: Option<String>,
    /// Only those behind this entry, in the order of reading: [`DeadPage::next`] of the page
    /// before. Means nothing to those that are selected by their entry.
    ///
    /// [`DeadPage::next`]: super::DeadPage::next
    pub after: Option<String>,
    /// The newest first, instead of the oldest.
    pub newest_first: bool,
    /// At most so many.
    pub limit: Option<u64>,
}

impl DeadSelection {
    /// All that is said of a single letter, but for its ids.
    fn fits(&self, letter: &DeadLetter) -> bool {
        self.code.is_none_or(|code| code.as_str() == letter.code)
            && (self.name.is_none() || self.name == letter.name)
    }
}

/// A walk over what a selection means: first the entries that it names, then a search for the
/// rest. What dies meanwhile is not met: a job that is retried and fails again would be met for
/// ever.
pub(super) struct Walk<'a> {
    dead: &'a str,
    selection: &'a DeadSelection,
    /// Entries that are still to be looked up, in order.
    lookups: VecDeque<&'a str>,
    /// Those that were found so.
    looked_up: HashSet<&'a str>,
    /// Ids that are no entry, or none that there is: requests that are searched for.
    requests: HashSet<&'a str>,
    /// Ids that no letter has had so far.
    unknown: HashSet<&'a str>,
    /// What is still to be searched.
    rest: Option<Range>,
    left: u64,
    /// Whether something was found beyond the limit.
    cut: bool,
}

impl<'a> Walk<'a> {
    pub(super) async fn new(
        conn: &mut MultiplexedConnection,
        dead: &'a str,
        selection: &'a DeadSelection,
    ) -> Result<Self, StoreError> {
        let newest_first = selection.newest_first;
        let ids = || selection.ids.iter().map(String::as_str);
        let mut lookups: Vec<_> = ids().filter(|id| entry_time(id).is_some()).collect();
        lookups.sort_by_key(|id| entry_time(id));
        if newest_first {
            lookups.reverse();
        }
        let (first, last) = if newest_first { ("+", "-") } else { ("-", "+") };
        let begin = selection.after.as_ref().map(|after| format!("({after}"));
        let from = begin.unwrap_or_else(|| first.to_owned());
        let mut rest = Range { from, to: last.to_owned(), newest_first };
        if !newest_first {
            let newest = Range { from: "+".to_owned(), to: "-".to_owned(), newest_first: true };
            let newest = letters(conn, dead, &newest, 1).await?.letters.pop();
            rest.to = newest.map_or_else(|| "-".to_owned(), |letter| letter.entry);
        }
        Ok(Self {
            dead,
            selection,
            lookups: lookups.into(),
            looked_up: HashSet::new(),
            requests: ids().collect(),
            unknown: ids().collect(),
            rest: Some(rest),
            left: selection.limit.unwrap_or(u64::MAX),
            cut: false,
        })
    }

    /// The next letters that are meant: at least one, up to 1,000 and 8 MiB; `None` at the end.
    pub(super) async fn next(
        &mut self,
        conn: &mut MultiplexedConnection,
    ) -> Result<Option<Vec<DeadLetter>>, StoreError> {
        while self.left > 0 {
            let mut found = if let Some(entry) = self.lookups.pop_front() {
                self.look_up(conn, entry).await?
            } else if let Some(range) = self.rest.take().filter(|_| self.searches()) {
                self.search(conn, range).await?
            } else {
                return Ok(None);
            };
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            self.cut |= found.len() > left;
            found.truncate(left);
            self.left -= found.len() as u64;
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn look_up(
        &mut self,
        conn: &mut MultiplexedConnection,
        entry: &'a str,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let range = Range { from: entry.to_owned(), to: entry.to_owned(), newest_first: false };
        let mut found = letters(conn, self.dead, &range, 1).await?.letters;
        found.retain(|letter| self.selection.fits(letter));
        // Given twice, it is still one.
        found.retain(|_| self.looked_up.insert(entry));
        if !found.is_empty() {
            self.requests.remove(entry);
            self.unknown.remove(entry);
        }
        Ok(found)
    }

    fn searches(&self) -> bool {
        self.selection.ids.is_empty() || !self.requests.is_empty()
    }

    async fn search(
        &mut self,
        conn: &mut MultiplexedConnection,
        range: Range,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let DeadSelection { ids, code, name, .. } = self.selection;
        let picks = !ids.is_empty() || code.is_some() || name.is_some();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        // One more than is wanted tells whether there are more.
        let most = if picks { LETTERS_AT_ONCE } else { left.saturating_add(1) };
        let portion = letters(conn, self.dead, &range, most).await?;
        if !portion.whole
            && let Some(last) = portion.letters.last()
        {
            self.rest = Some(Range { from: format!("({}", last.entry), ..range });
        }
        let mut found = portion.letters;
        found.retain(|letter| self.selection.fits(letter) && self.is_wanted(letter));
        Ok(found)
    }

    fn is_wanted(&mut self, letter: &DeadLetter) -> bool {
        if self.selection.ids.is_empty() {
            return true;
        }
        let wanted = self.requests.contains(letter.id.as_str());
        self.unknown.remove(letter.id.as_str());
        wanted && !self.looked_up.contains(letter.entry.as_str())
    }

    /// Whether there may be more, beyond what the walk has shown.
    pub(super) fn is_cut(&self) -> bool {
        self.cut || self.rest.is_some()
    }

    /// The ids that no letter has had, as far as the walk went.
    pub(super) fn unknown(&self) -> Vec<String> {
        let mut unknown: Vec<String> = Vec::new();
        for id in &self.selection.ids {
            if self.unknown.contains(id.as_str()) && !unknown.contains(id) {
                unknown.push(id.clone());
            }
        }
        unknown
    }
}
