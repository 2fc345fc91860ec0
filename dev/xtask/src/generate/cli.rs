//! The reference of the programs' flags, from the recorded help texts. Tests compare these with the
//! output of the programs.

use std::fmt::Write as _;

use crate::tidy::files::SourceFile;

/// Where the help texts are recorded, one file per program or verb.
const FOLDER: &str = "dev/tests/golden/";

/// Returns the reference as Markdown: a section per file, `redcall-call.txt` under `redcall call`.
pub(super) fn reference(files: &[SourceFile]) -> String {
    let recorded = files.iter().filter_map(|file| {
        let name = file.path.strip_prefix(FOLDER)?.strip_suffix(".txt")?;
        name.starts_with("redcall").then_some((name, &file.text))
    });
    let mut text = String::new();
    for (name, help) in recorded {
        let _ = write!(text, "### `{}`\n\n```text\n{}\n```\n\n", command(name), help.trim_end());
    }
    text
}

/// Returns the command of a recorded help text; `redcall-worker` is a program of its own.
fn command(name: &str) -> String {
    match name.strip_prefix("redcall-worker") {
        Some(verb) if verb.is_empty() || verb.starts_with('-') => {
            format!("redcall-worker{}", verb.replace('-', " "))
        }
        _ => name.replace('-', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_recorded_help_is_a_section_under_its_command() {
        let file = |name: &str| SourceFile {
            path: format!("{FOLDER}{name}.txt"),
            text: format!("help of {name}\n"),
        };
        let text = reference(&[file("redcall-call"), file("redcall-worker-check"), file("keys")]);
        assert!(text.starts_with("### `redcall call`\n\n```text\nhelp of redcall-call\n```\n"));
        assert!(text.contains("### `redcall-worker check`"), "{text}");
        assert_eq!(command("redcall-workers"), "redcall workers");
        assert!(!text.contains("keys"), "{text}");
    }
}
