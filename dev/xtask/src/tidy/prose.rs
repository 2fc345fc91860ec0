//! The words of Markdown documents, comments, strings and names. Reason: a reader from the field
//! has to translate each of them; the project's glossary has the field's own word.

use std::collections::BTreeMap;

use super::files::SourceFile;
use super::finding::Finding;
use crate::words::language::{Kind, OWN_FILES, Word, count, passages, uses};

/// The permitted uses of "who" and of "what" as a subject in a set of texts, per 1,000 words.
const PERMITTED: f64 = 0.2;

/// The Markdown documents or the comments of one folder.
#[derive(Default)]
struct Set {
    words: usize,
    who: Vec<(String, usize)>,
    what: Vec<(String, usize)>,
}

/// Checks all files: each banned word is a finding, and each who-word and what-subject of a folder
/// that has too many.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sets: BTreeMap<(Kind, &str), Set> = BTreeMap::new();
    for file in files.iter().filter(|file| !OWN_FILES.contains(&file.path.as_str())) {
        for passage in passages(file) {
            let bounded = matches!(passage.kind, Kind::Markdown | Kind::Comment);
            let set = sets.entry((passage.kind, folder(&file.path))).or_default();
            set.words += count(&passage);
            for found in uses(&passage) {
                let place = (file.path.clone(), found.line);
                match found.word {
                    Word::Banned(word) => findings.push(Finding {
                        path: place.0,
                        line: place.1,
                        what: format!("`{word}` in {}", name(passage.kind)),
                        fix: "use the word of the glossary",
                    }),
                    Word::Who if bounded => set.who.push(place),
                    Word::WhatSubject if bounded => set.what.push(place),
                    Word::Who | Word::WhatSubject => {}
                }
            }
        }
    }
    for ((kind, folder), set) in sets {
        let what = "name the caller, the client, a worker or the operator";
        findings.extend(excess(kind, folder, "who", set.words, set.who, what));
        let what = "make a noun the subject";
        findings.extend(excess(kind, folder, "what", set.words, set.what, what));
    }
    findings
}

/// Returns the folder by which texts are counted: a crate, or `.` for the workspace's root.
pub(crate) fn folder(path: &str) -> &str {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let first = slashes.next().unwrap_or(0);
    let crates_below = path.starts_with("dev/");
    let end = if crates_below { slashes.next().unwrap_or(first) } else { first };
    if end == 0 { "." } else { &path[..end] }
}

/// Returns the name of a kind of text.
pub(crate) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Markdown => "a document",
        Kind::Comment => "a comment",
        Kind::Text => "a string",
        Kind::Name => "a name",
    }
}

/// Returns a finding for each place of a word that a set uses too often. One use is always
/// permitted, so that a small set is not stricter than a large one.
fn excess(
    kind: Kind,
    folder: &str,
    word: &str,
    words: usize,
    places: Vec<(String, usize)>,
    fix: &'static str,
) -> Vec<Finding> {
    #[expect(clippy::cast_precision_loss, reason = "counts of words are small")]
    let per_thousand = places.len() as f64 * 1000.0 / words.max(1) as f64;
    if places.len() <= 1 || per_thousand <= PERMITTED {
        return Vec::new();
    }
    let what = format!(
        "`{word}` in {}: {per_thousand:.1} per 1,000 words in {folder}, {PERMITTED} are the limit",
        name(kind)
    );
    let finding = |(path, line)| Finding { path, line, what: what.clone(), fix };
    places.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile::new(path, text)
    }

    fn found(files: &[SourceFile]) -> Vec<String> {
        check(files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn banned_words_are_findings_in_each_kind_of_text() {
        let files = [
            file("a.md", "Begins anew, `anew`."),
            file("store/src/a.rs", "// Anew.\nfn stirred() { f(\"for ever\") }\n"),
            file("dev/xtask/src/words/language.rs", "fn anew() {}"),
        ];
        assert_eq!(
            found(&files),
            [
                "a.md:1: `anew` in a document – use the word of the glossary",
                "store/src/a.rs:1: `anew` in a comment – use the word of the glossary",
                "store/src/a.rs:2: `stir` in a name – use the word of the glossary",
                "store/src/a.rs:2: `for ever` in a string – use the word of the glossary",
            ]
        );
    }

    #[test]
    fn who_words_are_bounded_per_folder_and_kind() {
        let filler = "word ".repeat(9_998);
        let twice = "the client who asks and the worker who answers";
        let few = file("a.md", &format!("{filler} {twice}"));
        assert_eq!(found(&[few]), [""; 0]);

        let many = [file("client/a.md", twice), file("client/src/a.rs", "// who\n")];
        let what = "client/a.md:1: `who` in a document: 222.2 per 1,000 words in client, 0.2 are \
                    the limit – name the caller, the client, a worker or the operator";
        assert_eq!(found(&many), [what, what]);
        assert_eq!(found(&[file("a.rs", "fn who() { f(\"who and who\") }")]), [""; 0]);
    }

    #[test]
    fn subjects_with_what_are_bounded_per_folder() {
        let files = [file("dev/a/b.rs", "// ends: what is left\n\n// and if what is left\n")];
        let all = found(&files);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(all[1].starts_with("dev/a/b.rs:3: `what` in a comment: "), "{all:?}");
    }

    #[test]
    fn folders_are_crates() {
        for (path, expected) in [
            ("README.md", "."),
            ("client/src/a.rs", "client"),
            ("dev/xtask/src/a.rs", "dev/xtask"),
            ("dev/README.md", "dev"),
        ] {
            assert_eq!(folder(path), expected);
        }
    }
}
