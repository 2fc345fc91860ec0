//! The summary lists every page of the book once; decisions are numbered without holes.

use super::markdown;
use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// The table of contents, from which mdBook takes the pages.
const SUMMARY: &str = "docs/SUMMARY.md";

/// The folder of the decisions, `NNNN-title.md` each, next to its own overview.
const DECISIONS: &str = "docs/internals/decisions/";

/// Checks the pages of the book, and the numbers of the decisions.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let pages: Vec<&SourceFile> = files
        .iter()
        .filter(|file| file.path.starts_with("docs/") && file.has_extension("md"))
        .collect();
    let mut findings = unlisted(&pages);
    findings.extend(misnumbered(&pages));
    findings
}

/// The pages that the summary does not list exactly once.
fn unlisted(pages: &[&SourceFile]) -> Vec<Finding> {
    let summary = pages.iter().find(|page| page.path == SUMMARY);
    let listed = summary.map_or_else(Vec::new, |summary| markdown::links(&summary.text));
    let count =
        |path: &str| listed.iter().filter(|(_, link)| format!("docs/{link}") == path).count();
    let pages = pages.iter().filter(|page| page.path != SUMMARY);
    let wrong = pages.filter_map(|page| match count(&page.path) {
        1 => None,
        times => Some(Finding {
            path: page.path.clone(),
            line: 1,
            what: format!("{SUMMARY} lists this page {times} times"),
            fix: "list it once",
        }),
    });
    wrong.collect()
}

/// The decisions whose number is missing before them, is used twice, or differs from their title's.
fn misnumbered(pages: &[&SourceFile]) -> Vec<Finding> {
    let numbered = pages.iter().filter_map(|page| {
        let name = page.path.strip_prefix(DECISIONS)?;
        (name != "README.md").then_some((page, name))
    });
    let mut findings = Vec::new();
    // In the order of their paths, hence of their numbers.
    for (index, (page, name)) in numbered.enumerate() {
        let number = index + 1;
        let mut wrong = |what, fix| {
            findings.push(Finding { path: page.path.clone(), line: 1, what, fix });
        };
        if !name.starts_with(&format!("{number:04}-")) {
            wrong(format!("the number {number:04} is expected"), "renumber the decisions");
        } else if !page.text.starts_with(&format!("# {number}. ")) {
            wrong(format!("its title does not begin with `# {number}. `"), "correct the title");
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pages: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| SourceFile::new(format!("docs/{path}"), *text);
        let files: Vec<_> = pages.iter().map(file).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pages_are_listed_exactly_once() {
        let listed = [("SUMMARY.md", "- [A](guide/a.md)"), ("guide/a.md", "# A")];
        assert_eq!(found(&listed), [""; 0]);
        let unlisted = [("SUMMARY.md", "[A](guide/b.md)"), ("guide/a.md", "# A")];
        let what = "docs/guide/a.md:1: docs/SUMMARY.md lists this page 0 times – list it once";
        assert_eq!(found(&unlisted), [what]);
        let twice = [("SUMMARY.md", "[A](a.md) [A](a.md)"), ("a.md", "# A")];
        assert_eq!(found(&twice).len(), 1);
    }

    #[test]
    fn decisions_have_neither_holes_nor_other_titles() {
        let with = |decisions: [(&str, &str); 2]| {
            let paths = decisions.map(|(name, _)| format!("internals/decisions/{name}.md"));
            let summary: String = paths.iter().map(|path| format!("[x]({path})\n")).collect();
            let pages = paths.iter().zip(decisions).map(|(path, (_, title))| (&**path, title));
            found(&[("SUMMARY.md", &*summary)].into_iter().chain(pages).collect::<Vec<_>>())
        };
        assert_eq!(with([("0001-a", "# 1. A"), ("0002-b", "# 2. B")]), [""; 0]);
        for wrong in [
            [("0001-a", "# 1. A"), ("0003-b", "# 3. B")],
            [("0001-a", "# 1. A"), ("0001-b", "# 1. B")],
            [("0001-a", "# 1. A"), ("0002-b", "# 3. B")],
        ] {
            assert_eq!(with(wrong).len(), 1, "{wrong:?}");
        }
    }
}
