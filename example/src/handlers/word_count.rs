//! `word_count` in Rust, for machines without Python. `word_count.py` is the original; the tests of
//! the example check that both give the same answers.

use std::fs;

use redcall_worker::{HandlerError, Json, State};
use serde::{Deserialize, Serialize};

use crate::root::{Refused, Root};

/// Its data.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// A file.
    Path(String),
    /// The text itself.
    Text(String),
}

/// Its answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Counted {
    words: usize,
    lines: usize,
}

/// `{"path": "a/b.md"}` or `{"text": "…"}` -> `{"words": 2, "lines": 1}`
pub(crate) fn word_count(
    Json(source): Json<Source>,
    root: State<Root>,
) -> Result<Json<Counted>, HandlerError> {
    let text = match source {
        Source::Text(text) => text,
        Source::Path(path) => {
            let bytes = fs::read(root.resolve(&path)?);
            let bytes = bytes.map_err(|source| Refused::Unreadable { path, source })?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    Ok(Json(count(&text)))
}

/// Words are separated by white space; lines end with a newline, which the last one may lack.
fn count(text: &str) -> Counted {
    Counted { words: text.split_whitespace().count(), lines: text.lines().count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_may_lack_its_newline() {
        for (text, words, lines) in [("", 0, 0), ("a b", 2, 1), ("a\r\n\n b\n", 2, 3)] {
            assert_eq!(count(text), Counted { words, lines }, "{text:?}");
        }
    }
}
