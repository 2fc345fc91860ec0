//! The elements that are pushed to a queue, and the outcome of each.

/// A request to be pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    /// Its envelope.
    pub(crate) envelope: &'a str,
    /// `true` if its caller waits for the answer.
    pub(crate) waited: bool,
}

/// The result of an enqueue, for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is in the queue, or a worker has taken it.
    Queued,
    /// It is not in the queue, which is full.
    Full,
    /// It is not in the queue: its caller waits, and no live worker serves the queue.
    NoWorkers,
    /// It is not in the queue: its caller waits, and the answers kept are at their limit.
    AnswersFull,
}

/// The envelopes of many requests, one after the other.
#[derive(Default)]
pub(crate) struct Envelopes {
    text: String,
    /// The end of each, bytes.
    ends: Vec<usize>,
}

impl Envelopes {
    /// Appends the envelope that `write` appends to the text, unless it is longer than `limit`
    /// bytes.
    ///
    /// # Errors
    ///
    /// Its length, if it is too long.
    pub(crate) fn push(
        &mut self,
        limit: usize,
        write: impl FnOnce(&mut String),
    ) -> Result<(), usize> {
        let start = self.text.len();
        write(&mut self.text);
        let size = self.text.len() - start;
        if size > limit {
            self.text.truncate(start);
            return Err(size);
        }
        self.ends.push(self.text.len());
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the length of all of them together, bytes.
    pub(crate) fn size(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.text[start..*end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_kept_apart_and_too_long_ones_are_left_out() {
        let mut all = Envelopes::default();
        for text in ["one", "", "three"] {
            all.push(5, |out| out.push_str(text)).unwrap();
        }
        assert_eq!(all.push(5, |out| out.push_str("longer")), Err(6));
        all.push(5, |out| out.push_str("four")).unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), ["one", "", "three", "four"]);
        assert_eq!((all.len(), all.size()), (4, 12));
    }
}
