//! The text files of the workspace.

use std::fs;
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _};

/// Folders without source files.
const SKIPPED: &[&str] = &[".git", ".venv", "__pycache__", "node_modules", "target"];

/// One text file.
pub(crate) struct SourceFile {
    /// Relative to the workspace's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.'))
    }

    /// Lines with their numbers, from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Reads all text files below `root`, in the order of their paths. Walks the folders instead of
/// running git: an unpacked archive has rules too.
pub(crate) fn read_all(root: &Path) -> miette::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_folder(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(root: &Path, below: &str, files: &mut Vec<SourceFile>) -> miette::Result<()> {
    let folder = root.join(below);
    let failed = || format!("{} could not be read", folder.display());
    for entry in fs::read_dir(&folder).into_diagnostic().wrap_err_with(failed)? {
        let entry = entry.into_diagnostic().wrap_err_with(failed)?;
        // A name that is not UTF-8 is not a source file.
        let Ok(name) = entry.file_name().into_string() else { continue };
        // In a worktree, `.git` is a file.
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().into_diagnostic().wrap_err_with(failed)?;
        if kind.is_dir() {
            read_folder(root, &path, files)?;
        } else if kind.is_file()
            // Not text, or gone since it was listed.
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            files.push(SourceFile::new(path, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_files_are_read_in_order_without_generated_ones() {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in [
            ("b/two.rs", &b"two"[..]),
            ("a.md", b"one"),
            (".ci/run", b"three"),
            ("target/debug/x.rs", b"no"),
            ("worktree/.git", b"no"),
            ("picture", b"\xff\xfe"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let files = read_all(root.path()).unwrap();
        let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, [".ci/run", "a.md", "b/two.rs"]);
        assert!(files[2].has_extension("rs") && !files[2].has_extension("s"));
    }
}
