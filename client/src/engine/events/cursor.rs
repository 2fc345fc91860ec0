//! The position in a topic, and the count of missed events.
//!
//! Redis counts the entries added to a stream and those still in it. A cursor that knows the count
//! up to its position can therefore count the entries trimmed after it. A stream that expired or
//! was lost restarts its count; then the number of missed events is unknown.

use redcall_common::event::EventId;
use redcall_store::TopicRead;

use super::subscriber::Missed;

/// A position in a topic: reading continues after this event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: EventId,
    count: Count,
}

/// Number of events in the topic up to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Known(u64),
    /// Unknown; the cursor is the id of an event that existed.
    UnknownEvent,
    /// Unknown; the cursor is a time, possibly without an event.
    UnknownTime,
}

impl Cursor {
    /// Returns the cursor after the newest event of `page`.
    pub(crate) fn at_end(page: &TopicRead) -> Self {
        Self { at: page.top, count: Count::Known(page.added) }
    }

    /// Returns the cursor after an event that was read.
    pub(crate) fn after(at: EventId) -> Self {
        Self { at, count: Count::UnknownEvent }
    }

    /// Returns the cursor before the first event at a time.
    pub(crate) fn at_time(at: EventId) -> Self {
        Self { at, count: Count::UnknownTime }
    }

    /// Returns the cursor `at`, which is `events` events before this one.
    pub(crate) fn back(self, events: usize, at: EventId) -> Self {
        let count = match self.count {
            Count::Known(count) => Count::Known(count.saturating_sub(events as u64)),
            Count::UnknownEvent | Count::UnknownTime => Count::UnknownEvent,
        };
        Self { at, count }
    }

    /// Advances to the end of `page`, which started here; returns the events missed before its
    /// first one. `watched`: no loss can be unseen since the last read, unless the stream was
    /// trimmed.
    pub(crate) fn advance(&mut self, page: &TopicRead, watched: bool) -> Option<Missed> {
        let read = page.entries.len() as u64;
        // All entries are newer than this cursor, so trimmed ones may be newer, too.
        let is_cut = page.first > self.at;
        let missed = match self.count {
            // The stream expired without new events.
            Count::Known(count) if page.added < count && watched => missed(page.gone),
            Count::Known(count) if page.added < count => Some(Missed(None)),
            Count::Known(count) if is_cut && page.gone > count => missed(page.gone - count),
            Count::Known(count) if !watched && !is_consistent(page, count + read) => {
                Some(Missed(None))
            }
            Count::UnknownEvent if page.top < self.at => Some(Missed(None)),
            Count::UnknownEvent | Count::UnknownTime if is_cut && page.gone > 0 => {
                Some(Missed(None))
            }
            Count::Known(_) | Count::UnknownEvent | Count::UnknownTime => None,
        };
        let is_reset = page.top < self.at && self.count != Count::UnknownTime;
        self.count = match self.count {
            Count::UnknownTime if page.top < self.at => Count::UnknownTime,
            _ if page.whole => Count::Known(page.added),
            _ if is_cut => Count::Known(page.gone + read),
            Count::Known(count) => Count::Known(count + read),
            unknown => unknown,
        };
        if is_reset {
            // A new stream, with older ids: all its events are new.
            *self = Self { at: EventId::default(), count: Count::Known(0) };
        } else if let Some((last, _)) = page.entries.last() {
            self.at = *last;
        }
        if page.whole && !is_reset {
            self.at = self.at.max(page.top);
        }
        missed
    }
}

/// Returns `true` if the stream can be the earlier one, of which `read` events are read.
fn is_consistent(page: &TopicRead, read: u64) -> bool {
    if page.whole { read == page.added } else { read <= page.added }
}

fn missed(count: u64) -> Option<Missed> {
    (count > 0).then_some(Missed(Some(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EventId {
        EventId { ms, seq: 0 }
    }

    /// A page of a topic that has had `added` events with the ids 1 to `added`, of which those from
    /// `first` on are kept: the ones after `from`, at most `max`.
    fn read_topic(first: u64, added: u64, from: u64, max: usize) -> TopicRead {
        let entries = (first.max(from + 1)..=added).map(|ms| (id(ms), None));
        let entries: Vec<_> = entries.take(max).collect();
        let whole = entries.last().map_or(added <= from, |(last, _)| last.ms == added);
        TopicRead { top: id(added), added, gone: first - 1, first: id(first), entries, whole }
    }

    #[test]
    fn cursor_at_end_counts_trimmed_events_as_missed() {
        let mut cursor = Cursor::at_end(&read_topic(1, 5, 5, 9));
        assert_eq!(cursor.advance(&read_topic(1, 7, 5, 9), false), None);
        assert_eq!(cursor, Cursor { at: id(7), count: Count::Known(7) });
        assert_eq!(cursor.advance(&read_topic(8, 9, 7, 9), false), None, "every new event is kept");
        assert_eq!(cursor.advance(&read_topic(13, 20, 9, 4), false), Some(Missed(Some(3))));
        assert_eq!(cursor, Cursor { at: id(16), count: Count::Known(16) });
        assert_eq!(cursor.advance(&read_topic(14, 21, 16, 9), false), None);
        assert_eq!(cursor, Cursor { at: id(21), count: Count::Known(21) });
        assert_eq!(
            cursor.advance(&read_topic(22, 21, 21, 9), false),
            None,
            "all of it was trimmed"
        );
    }

    #[test]
    fn cursor_of_unknown_count_reports_possible_loss() {
        for cursor in [Cursor::at_time(id(3)), Cursor::after(id(3))] {
            let (mut one, mut other) = (cursor, cursor);
            assert_eq!(one.advance(&read_topic(1, 9, 3, 2), false), None, "{cursor:?}");
            assert_eq!(one.advance(&read_topic(2, 9, 5, 9), false), None);
            assert_eq!(one, Cursor { at: id(9), count: Count::Known(9) });
            assert_eq!(other.advance(&read_topic(6, 9, 3, 2), false), Some(Missed(None)));
            assert_eq!(
                other,
                Cursor { at: id(7), count: Count::Known(7) },
                "the count is known from here on"
            );
        }
    }

    #[test]
    fn time_cursor_before_first_event_or_in_future_misses_nothing() {
        let mut cursor = Cursor::at_time(id(50));
        assert_eq!(cursor.advance(&TopicRead { whole: true, ..TopicRead::default() }, false), None);
        assert_eq!(cursor.advance(&read_topic(1, 9, 50, 9), false), None);
        assert_eq!(cursor.at, id(50));
    }

    #[test]
    fn restarted_topic_is_read_from_its_start() {
        let gone = TopicRead { whole: true, ..TopicRead::default() };
        let at = |count| Cursor { at: id(9), count: Count::Known(count) };
        let mut cursor = at(9);
        assert_eq!(cursor.advance(&gone, false), Some(Missed(None)));
        assert_eq!(cursor, Cursor { at: id(0), count: Count::Known(0) });
        assert_eq!(cursor.advance(&read_topic(1, 3, 0, 9), false), None);
        // The stream expired without new events.
        let mut cursor = at(9);
        assert_eq!(cursor.advance(&gone, true), None);
        assert_eq!(cursor, Cursor { at: id(0), count: Count::Known(0) });
        // Its entries are newer than those of the old stream, and fewer or more.
        for (added, watched) in [(2, false), (9, false), (11, false), (2, true)] {
            let mut reset = read_topic(1, added, 0, 99);
            reset.top = id(20);
            reset.first = id(10);
            reset.entries.truncate(1);
            reset.entries[0].0 = id(20);
            let mut cursor = at(9);
            let missed = cursor.advance(&reset, watched);
            assert_eq!(missed, (!watched).then_some(Missed(None)), "{added}");
            assert_eq!(cursor, Cursor { at: id(20), count: Count::Known(added) });
        }
        let mut cursor = Cursor::after(id(9));
        assert_eq!(cursor.advance(&gone, false), Some(Missed(None)));
    }
}
