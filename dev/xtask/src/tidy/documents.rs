//! Rules about all Markdown files together: links, paths, pages of the book, decisions, diagrams.
//!
//! Called by `tidy` with every text file of the workspace. Rules about one file are in `rules.rs`.

mod book;
mod links;
mod markdown;
mod mermaid;
mod paths;

use super::files::SourceFile;
use super::finding::Finding;

/// Checks the documents among `files`, which are all text files of the workspace.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = links::check(files);
    findings.extend(book::check(files));
    findings.extend(mermaid::check(files));
    findings.extend(paths::check(files));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files;
    use crate::workspace::Workspace;

    #[test]
    fn documents_of_the_repository_have_no_finding() {
        let files = files::read_all(Workspace::find().unwrap().root()).unwrap();
        let found: Vec<_> = check(&files).iter().map(ToString::to_string).collect();
        assert_eq!(found, [""; 0]);
    }
}
