//! The number of Rust files at one level of a folder. Reason: in a long list of files, a newcomer
//! finds a noun only by knowing its name.

use std::collections::BTreeMap;

use super::files::SourceFile;
use super::finding::Finding;

/// The limit, about as many names as a reader takes in at once.
const MAX_FILES: usize = 12;

/// Checks all folders that have files among `files`.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *folders.entry(folder).or_default() += 1;
    }
    let full = folders.into_iter().filter(|(_, count)| *count > MAX_FILES);
    let finding = |(folder, count): (&str, usize)| Finding {
        path: folder.to_owned(),
        line: 1,
        what: format!("{count} Rust files at one level, {MAX_FILES} are the limit"),
        fix: "group them in folders by subject",
    };
    full.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &str, count: usize, extension: &str) -> Vec<String> {
        let file = |number| SourceFile::new(format!("{folder}/f{number}.{extension}"), "");
        let below = SourceFile::new(format!("{folder}/below/a.rs"), "");
        let files: Vec<SourceFile> = (0..count).map(file).chain([below]).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn full_folder_is_found_and_its_subfolders_do_not_count() {
        assert_eq!(found("client/src", MAX_FILES, "rs"), [""; 0]);
        assert_eq!(
            found("client/src", MAX_FILES + 1, "rs"),
            ["client/src:1: 13 Rust files at one level, 12 are the limit – group them in folders \
              by subject"]
        );
    }

    #[test]
    fn other_files_pass() {
        assert_eq!(found("store/src/lua", 40, "lua"), [""; 0]);
    }
}
