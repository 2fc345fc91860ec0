//! The files of a directory that git does not ignore. Caller and workers use the same walk.

use std::path::Path;

use ignore::{DirEntry, WalkBuilder};

use crate::root::Root;

/// Contents of a directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Relative to the root, sorted.
    pub(crate) files: Vec<String>,
    /// Skipped entries, one line each: unreadable directories, names that are not UTF-8.
    pub(crate) left_out: Vec<String>,
}

/// Lists all files below `root`, except those ignored by `.gitignore` and `.git` itself; links are
/// not followed. Ignore files above the root do not apply, so that the result does not depend on
/// where it is mounted. Blocks.
pub(crate) fn files(root: &Root) -> Walked {
    let mut walk = WalkBuilder::new(root.dir());
    walk.hidden(false).parents(false).git_global(false).require_git(false);
    walk.filter_entry(|entry| entry.file_name() != ".git").sort_by_file_name(Ord::cmp);
    let mut walked = Walked::default();
    for entry in walk.build() {
        match entry {
            Ok(entry) if is_file(&entry) => match relative(&entry, root) {
                Some(path) => walked.files.push(path),
                None => walked.left_out.push(format!("{}: not UTF-8", entry.path().display())),
            },
            Ok(_) => {}
            Err(error) => walked.left_out.push(error.to_string()),
        }
    }
    walked
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
}

fn relative(entry: &DirEntry, root: &Root) -> Option<String> {
    let path = entry.path().strip_prefix(root.dir()).ok()?;
    path.to_str().map(str::to_owned)
}

/// Returns the group of a file: its extension in lower case, with the dot.
pub(crate) fn kind(path: &str) -> String {
    let extension = Path::new(path).extension();
    extension.map_or_else(
        || "(none)".to_owned(),
        |extension| format!(".{}", extension.to_string_lossy().to_lowercase()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_ignored_by_git_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a.rs", ".ci/run", "target/x.o", ".git/HEAD", "sub/b.log", "sub/.gitignore"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "*.log\n").unwrap();
        }
        std::fs::write(folder.path().join(".gitignore"), "/target\n").unwrap();
        std::os::unix::fs::symlink("a.rs", folder.path().join("link")).unwrap();
        let walked = files(&Root::open(folder.path()).unwrap());
        assert_eq!(walked.files, [".ci/run", ".gitignore", "a.rs", "sub/.gitignore"]);
        assert_eq!(walked.left_out, [""; 0]);
    }

    #[test]
    fn kind_is_the_extension() {
        for (path, expected) in [("a/B.RS", ".rs"), ("x.tar.gz", ".gz"), (".gitignore", "(none)")] {
            assert_eq!(kind(path), expected);
        }
    }
}
