//! `[queues]`: the limits of single queues.

use std::collections::BTreeMap;

use crate::rules::name::is_queue;
use crate::settings::source::entry::Entry;
use crate::settings::source::error::SettingsError;
use crate::settings::source::section::Section;
use crate::settings::value::forms::QUEUE;
use crate::settings::value::size::LONGEST_LIST;

/// `[queues.NAME]`: the limits of one queue, which override the general ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// The maximum number of requests, 1 to 4,294,967,295; 0 for no limit. Default none:
    /// `limits.max_length`.
    pub max_length: Option<u64>,
    /// The maximum bytes of stored answers, 1 MiB to 1,024 GiB; 0 for no limit. Default none:
    /// `limits.answers_max_bytes`.
    pub answers_max_bytes: Option<u64>,
}

/// Reads all queues of the `[queues]` table.
pub(crate) fn read(mut section: Section<'_>) -> BTreeMap<String, QueueSettings> {
    let mut queues = BTreeMap::new();
    for (name, value) in section.take_all() {
        let example = format!("[queues.{}] with max_length below", name.escape_debug());
        let path = section.child(&name);
        let Some(mut queue) = Section::at(section.context(), path, value, &example) else {
            continue;
        };
        if !is_queue(&name) {
            queue.wrong("is not a queue name", format!("a queue name is {QUEUE}"));
        }
        let bounds = QueueSettings {
            max_length: queue.read("max_length", max_length),
            answers_max_bytes: queue.read("answers_max_bytes", Entry::bound),
        };
        if bounds != QueueSettings::default() {
            queues.insert(name, bounds);
        }
        queue.finish();
    }
    queues
}

/// Reads the cap of a queue, in requests.
pub(crate) fn max_length(entry: &Entry) -> Result<u64, SettingsError> {
    entry.whole(0..=LONGEST_LIST)
}
