//! `cargo xtask words`: counts the words that the project avoids, per folder, and lists the banned
//! ones with their places.

pub(crate) mod language;

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::tidy::files::{self, SourceFile};
use crate::tidy::prose::{folder, name};
use crate::workspace::Workspace;
use language::{Kind, OWN_FILES, Word, count, passages, uses};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Count only files whose path begins with one of these
    paths: Vec<String>,
    /// List the places of who-words and of "what" as a subject, too
    #[arg(long)]
    all: bool,
}

/// Counts, and prints a table and the places.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    let files = files::read_all(workspace.root())?;
    let chosen = |file: &&SourceFile| {
        args.paths.is_empty() || args.paths.iter().any(|path| file.path.starts_with(path.as_str()))
    };
    let counts = Counts::of(files.iter().filter(chosen));
    println!("{}", counts.table());
    for line in counts.places(args.all) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The uses in the Markdown documents or in the comments of one folder.
#[derive(Clone, Copy, Default)]
struct Row {
    words: usize,
    who: usize,
    what: usize,
    banned: usize,
}

#[derive(Default)]
struct Counts<'a> {
    rows: BTreeMap<(Kind, &'a str), Row>,
    places: BTreeMap<Word, Vec<String>>,
}

impl<'a> Counts<'a> {
    fn of(files: impl Iterator<Item = &'a SourceFile>) -> Self {
        let mut counts = Self::default();
        for file in files.filter(|file| !OWN_FILES.contains(&file.path.as_str())) {
            for passage in passages(file) {
                counts.add(file, passage.kind, count(&passage), &uses(&passage));
            }
        }
        counts
    }

    fn add(&mut self, file: &'a SourceFile, kind: Kind, words: usize, uses: &[language::Use]) {
        let row = self.rows.entry((kind, folder(&file.path))).or_default();
        row.words += words;
        for found in uses {
            match found.word {
                Word::Who => row.who += 1,
                Word::WhatSubject => row.what += 1,
                Word::Banned(_) => row.banned += 1,
            }
            let place = format!("{}:{} ({})", file.path, found.line, name(kind));
            self.places.entry(found.word).or_default().push(place);
        }
    }

    /// Returns a Markdown table of uses per 1,000 words of prose. Strings and names have no sum of
    /// words that would mean anything, so their uses are totals.
    fn table(&self) -> String {
        let head = "| folder | text | words | who | what | banned |\n|---|---|---|---|---|---|";
        let mut lines = vec![head.to_owned()];
        let mut sums: BTreeMap<Kind, Row> = BTreeMap::new();
        for ((kind, folder), row) in &self.rows {
            let sum = sums.entry(*kind).or_default();
            sum.words += row.words;
            sum.who += row.who;
            sum.what += row.what;
            sum.banned += row.banned;
            if row.who + row.what + row.banned > 0 {
                lines.push(line(folder, *kind, *row));
            }
        }
        lines.extend(sums.iter().map(|(kind, sum)| line("all", *kind, *sum)));
        lines.join("\n")
    }

    /// Returns the places of the banned words, or of all words, below the number of their uses.
    fn places(&self, all: bool) -> Vec<String> {
        let mut lines = Vec::new();
        for (word, places) in &self.places {
            let title = match word {
                Word::Banned(word) => word,
                Word::Who if all => "who",
                Word::WhatSubject if all => "what as a subject",
                Word::Who | Word::WhatSubject => continue,
            };
            lines.push(format!("{title}: {}", places.len()));
            lines.extend(places.iter().map(|place| format!("  {place}")));
        }
        lines
    }
}

fn line(folder: &str, kind: Kind, row: Row) -> String {
    let (text, prose) = match kind {
        Kind::Markdown => ("documents", true),
        Kind::Comment => ("comments", true),
        Kind::Text => ("strings", false),
        Kind::Name => ("names", false),
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of words are small")]
    let share = |uses: usize| {
        if prose {
            format!("{:.2}", uses as f64 * 1000.0 / row.words.max(1) as f64)
        } else {
            format!("{uses} in all")
        }
    };
    let (who, what, banned) = (share(row.who), share(row.what), share(row.banned));
    format!("| {folder} | {text} | {} | {who} | {what} | {banned} |", row.words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_per_folder_and_listed_with_their_places() {
        let files = [
            SourceFile::new("README.md", format!("What is anew. {}", "word ".repeat(97))),
            SourceFile::new(
                "client/src/a.rs",
                "// The client who asks.\nfn portion() { f(\"portion\") }\n",
            ),
            SourceFile::new("store/src/a.rs", "// Plain.\n"),
        ];
        let counts = Counts::of(files.iter());
        assert_eq!(
            counts.table(),
            "| folder | text | words | who | what | banned |\n|---|---|---|---|---|---|\n\
             | . | documents | 100 | 0.00 | 10.00 | 20.00 |\n\
             | client | comments | 4 | 250.00 | 0.00 | 0.00 |\n\
             | client | strings | 1 | 0 in all | 0 in all | 1 in all |\n\
             | client | names | 3 | 0 in all | 0 in all | 1 in all |\n\
             | all | documents | 100 | 0.00 | 10.00 | 20.00 |\n\
             | all | comments | 5 | 200.00 | 0.00 | 0.00 |\n\
             | all | strings | 1 | 0 in all | 0 in all | 1 in all |\n\
             | all | names | 3 | 0 in all | 0 in all | 1 in all |"
        );
        let banned = [
            "What …: 1",
            "  README.md:1 (a document)",
            "anew: 1",
            "  README.md:1 (a document)",
            "portion: 2",
            "  client/src/a.rs:2 (a name)",
            "  client/src/a.rs:2 (a string)",
        ];
        assert_eq!(counts.places(false), banned);
        let others = [
            "who: 1",
            "  client/src/a.rs:1 (a comment)",
            "what as a subject: 1",
            "  README.md:1 (a document)",
        ];
        assert_eq!(counts.places(true), [&banned[..], &others[..]].concat());
    }
}
