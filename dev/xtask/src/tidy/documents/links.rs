//! Relative links lead to a file of the repository and to a heading in it.

use std::collections::HashMap;

use super::markdown;
use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// The folder of the book. Its pages are also rendered on their own.
const BOOK: &str = "docs/";

/// Checks every relative link of every Markdown file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let texts: HashMap<&str, &str> =
        files.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (line, target) in markdown::links(&file.text) {
            if let Some((what, fix)) = fault(&file.path, &target, &texts) {
                findings.push(Finding { path: file.path.clone(), line, what, fix });
            }
        }
    }
    findings
}

/// The fault of a link from the file `from`, and its remedy.
fn fault(from: &str, target: &str, texts: &HashMap<&str, &str>) -> Option<(String, &'static str)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.to_owned() } else { resolve(from, path) };
    if from.starts_with(BOOK) && !path.starts_with(BOOK) {
        let what = format!("the link `{target}` leaves the book");
        return Some((what, "name the file in backticks, or use an address"));
    }
    let Some(text) = texts.get(path.as_str()) else {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let is_folder = texts.keys().any(|file| file.starts_with(&folder));
        // GitHub shows a folder, the rendered book does not.
        return (!is_folder || from.starts_with(BOOK))
            .then(|| (format!("the link `{target}` has no file"), "correct the path"));
    };
    let found = anchor.is_empty() || markdown::anchors(text).iter().any(|one| one == anchor);
    (!found).then(|| (format!("the link `{target}` has no heading"), "correct the anchor"))
}

/// The path of `target`, relative to the workspace's root, as the file `from` names it.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = [
            SourceFile::new("docs/b.md", "# One\n## Two words\n"),
            SourceFile::new("a/c.rs", ""),
            SourceFile::new(path, text),
        ];
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_resolve_have_no_finding() {
        let text = "[x](docs/b.md) [x](./docs/b.md#two-words) [x](a) [x](https://x.y) [x](#here)";
        assert_eq!(found("d.md", &format!("{text}\n# Here\n")), [""; 0]);
        assert_eq!(found("docs/e/f.md", "[x](../b.md#one)"), [""; 0]);
    }

    #[test]
    fn broken_links_are_named_with_their_line() {
        for (path, link, what) in [
            ("d.md", "docs/x.md", "has no file"),
            ("d.md", "../d.md", "has no file"),
            ("d.md", "docs/b.md#three", "has no heading"),
            ("docs/d.md", "../a/c.rs", "leaves the book"),
            ("docs/d.md", "../docs", "leaves the book"),
        ] {
            let found = found(path, &format!("\n[x]({link})"));
            let [finding] = found.as_slice() else { panic!("{link}: {found:?}") };
            assert!(finding.starts_with(&format!("{path}:2: ")), "{finding}");
            assert!(finding.contains(what), "{finding}");
        }
    }
}
