//! The stack of the reader, and its bound on the number and size of values.

use super::refused::Refused;
use super::value::Value;

/// The values that outer tuples and envelopes may hold next to the JSON that is bounded, in bytes.
const EXTRA_BYTES: usize = 4 << 10;

/// One stack of values; a mark is a position on it.
#[derive(Debug)]
pub(super) struct Stack {
    values: Vec<Value>,
    marks: Vec<u32>,
    bytes: usize,
    /// The bytes that further values may need as JSON.
    left: usize,
    pushed: usize,
}

impl Stack {
    /// Creates an empty stack for values that need at most `bytes` bytes as JSON.
    pub(super) fn new(bytes: usize) -> Self {
        let left = bytes.saturating_add(EXTRA_BYTES);
        Self { values: Vec::new(), marks: Vec::new(), bytes, left, pushed: 0 }
    }

    /// Adds a value. Each one is written somewhere, so that values too large to be written are
    /// refused here, before there are many of them.
    pub(super) fn push(&mut self, value: Value) -> Result<(), Refused> {
        let left = self.left.checked_sub(value.least_size());
        self.left = left.ok_or(Refused::TooLarge(self.bytes))?;
        self.values.push(value);
        self.pushed += 1;
        Ok(())
    }

    /// Returns how many values were added in all.
    pub(super) fn pushed(&self) -> usize {
        self.pushed
    }

    /// Takes the last value, if there is one after the last mark.
    pub(super) fn pop(&mut self) -> Result<Value, Refused> {
        self.top()?;
        self.values.pop().ok_or(EMPTY)
    }

    /// Returns the last value, if there is one after the last mark.
    pub(super) fn top(&self) -> Result<Value, Refused> {
        self.values[self.fence()..].last().copied().ok_or(EMPTY)
    }

    /// Marks the present position.
    pub(super) fn mark(&mut self) -> Result<(), Refused> {
        let position = u32::try_from(self.values.len()).map_err(|_| EMPTY)?;
        self.marks.push(position);
        Ok(())
    }

    /// Takes the last mark and all values after it.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Value>, Refused> {
        let fence = self.fence();
        self.marks.pop().ok_or(Refused::Malformed("no mark"))?;
        Ok(self.values.split_off(fence))
    }

    /// Takes the last value, or the last mark if there is none after it.
    pub(super) fn discard(&mut self) -> Result<(), Refused> {
        match self.values.len() > self.fence() {
            true => self.pop().map(drop),
            false => self.pop_mark().map(drop),
        }
    }

    /// Takes the only value.
    pub(super) fn last(mut self) -> Result<Value, Refused> {
        let value = self.pop()?;
        let is_only = self.values.is_empty() && self.marks.is_empty();
        if is_only { Ok(value) } else { Err(Refused::Malformed("values are left")) }
    }

    fn fence(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }
}

const EMPTY: Refused = Refused::Malformed("a value is missing");
