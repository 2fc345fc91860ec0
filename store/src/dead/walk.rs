//! A walk over the dead letters of a queue in batches, which picks those of a selection.

use std::collections::{HashSet, VecDeque};

use super::letter::{DeadLetter, entry_time};
use crate::error::StoreError;
use crate::ops::admin::letters::LETTERS_AT_ONCE;
use crate::ops::{DeadOps, LetterRange};
use redcall_common::error::Code;
use redcall_common::keys::QueueKeys;

/// A selection of dead letters: those that meet all of its conditions. The default has no condition
/// and selects all letters, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadSelection {
    /// If not empty, only these, by entry id or by request id, which selects every letter of that
    /// request.
    pub ids: Vec<String>,
    /// Only letters with this error code.
    pub code: Option<Code>,
    /// Only letters of this job.
    pub name: Option<String>,
    /// Only letters after this entry, in reading order: [`DeadPage::next`] of the previous page.
    /// Ignored for letters that are selected by entry id.
    ///
    /// [`DeadPage::next`]: super::DeadPage::next
    pub after: Option<String>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// The maximum number of letters.
    pub limit: Option<u64>,
}

impl DeadSelection {
    /// Returns `true` if the letter meets all conditions but the ids.
    fn fits(&self, letter: &DeadLetter) -> bool {
        self.code.is_none_or(|code| code.as_str() == letter.code)
            && (self.name.is_none() || self.name == letter.name)
    }
}

/// A walk over a selection: first the entries that it names, then a search for the rest. Letters
/// that arrive during the walk are skipped: a job that is retried and fails again would make it
/// endless.
pub(super) struct Walk<'a, B> {
    broker: &'a B,
    keys: &'a QueueKeys,
    selection: &'a DeadSelection,
    /// Entries to look up, in order.
    lookups: VecDeque<&'a str>,
    /// Entries found by lookup.
    looked_up: HashSet<&'a str>,
    /// Ids that are not entry ids, or of no existing entry: request ids to search for.
    requests: HashSet<&'a str>,
    /// Ids that no letter has matched yet.
    unknown: HashSet<&'a str>,
    /// The range that is left to search.
    rest: Option<LetterRange>,
    left: u64,
    /// `true` if the walk found letters beyond the limit.
    cut: bool,
}

impl<'a, B: DeadOps> Walk<'a, B> {
    pub(super) async fn new(
        broker: &'a B,
        keys: &'a QueueKeys,
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
        let mut rest = LetterRange { from, to: last.to_owned(), newest_first };
        if !newest_first {
            let newest =
                LetterRange { from: "+".to_owned(), to: "-".to_owned(), newest_first: true };
            let newest = broker.letters(keys, &newest, 1).await?.letters.pop();
            rest.to = newest.map_or_else(|| "-".to_owned(), |letter| letter.entry);
        }
        Ok(Self {
            broker,
            keys,
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

    /// Returns the next selected letters: at least one, up to 1,000 and 8 MiB; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<DeadLetter>>, StoreError> {
        while self.left > 0 {
            let mut found = if let Some(entry) = self.lookups.pop_front() {
                self.look_up(entry).await?
            } else if let Some(range) = self.rest.take().filter(|_| self.searches()) {
                self.search(range).await?
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

    async fn look_up(&mut self, entry: &'a str) -> Result<Vec<DeadLetter>, StoreError> {
        let range =
            LetterRange { from: entry.to_owned(), to: entry.to_owned(), newest_first: false };
        let mut found = self.broker.letters(self.keys, &range, 1).await?.letters;
        found.retain(|letter| self.selection.fits(letter));
        // An id that is given twice is one letter.
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

    async fn search(&mut self, range: LetterRange) -> Result<Vec<DeadLetter>, StoreError> {
        let DeadSelection { ids, code, name, .. } = self.selection;
        let picks = !ids.is_empty() || code.is_some() || name.is_some();
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        // One more than the limit shows that there are more.
        let max = if picks { LETTERS_AT_ONCE } else { left.saturating_add(1) };
        let batch = self.broker.letters(self.keys, &range, max).await?;
        if !batch.whole
            && let Some(last) = batch.letters.last()
        {
            self.rest = Some(LetterRange { from: format!("({}", last.entry), ..range });
        }
        let mut found = batch.letters;
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

    /// Returns `true` if there may be more letters than the walk returned.
    pub(super) fn is_cut(&self) -> bool {
        self.cut || self.rest.is_some()
    }

    /// Returns the ids that no letter matched so far.
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
