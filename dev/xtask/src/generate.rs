//! `cargo xtask gen`: the parts of the documents that the code writes.
//!
//! In any Markdown file, the lines between `<!-- gen:NAME -->` and `<!-- /gen:NAME -->` are
//! replaced by the text of the generator of that name.

mod settings;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};

use crate::tidy::files::{self, SourceFile};
use crate::workspace::{Workspace, verdict};

/// A generator: its name in the markers, and the function that returns its text, from the files of
/// the workspace.
type Generator = (&'static str, fn(&[SourceFile]) -> String);

/// The registry.
const ALL: &[Generator] = &[
    ("enqueue-script", |_| redcall_store::enqueue_script()),
    ("error-codes", |_| redcall_common::error::table()),
    ("keys", |_| redcall_common::keys::table()),
    ("rights", |_| redcall_store::rights::table()),
    ("result-kinds", |_| redcall_common::result_kind::table()),
    ("settings", settings::reference),
];

/// The arguments of `gen`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; fail when something is stale.
    #[arg(long)]
    check: bool,
}

/// Renews the documents, or checks them.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> miette::Result<ExitCode> {
    if args.check {
        return up_to_date(workspace).map(verdict);
    }
    for (path, _, new) in stale(workspace.root())? {
        let file = workspace.root().join(&path);
        fs::write(file, new).into_diagnostic().wrap_err_with(|| path.clone())?;
        println!("{path}: renewed");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns `true` if every generated part is up to date; prints the names of those that are not.
pub(crate) fn up_to_date(workspace: &Workspace) -> miette::Result<bool> {
    let stale = stale(workspace.root())?;
    for (path, line, _) in &stale {
        println!("{path}:{line}: a generated part is stale – run `cargo xtask gen`");
    }
    Ok(stale.is_empty())
}

/// Documents that need renewal: path, first line that differs, new text.
fn stale(root: &Path) -> miette::Result<Vec<(String, usize, String)>> {
    let mut stale = Vec::new();
    let files = files::read_all(root)?;
    for file in files.iter().filter(|file| file.has_extension("md")) {
        let new = renew(&file.text, ALL, &files)
            .map_err(|(line, what)| miette!("{}:{line}: {what}", file.path))?;
        if new != file.text {
            let same = file.text.lines().zip(new.lines()).take_while(|(old, new)| old == new);
            stale.push((file.path.clone(), same.count() + 1, new));
        }
    }
    Ok(stale)
}

/// Returns the text with every generated part renewed; or the line and the fault of its markers.
fn renew(
    text: &str,
    generators: &[Generator],
    files: &[SourceFile],
) -> Result<String, (usize, String)> {
    let mut new = String::with_capacity(text.len());
    let mut open: Option<(usize, &str)> = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        match (open, marker(line)) {
            (None, None) => new.push_str(line),
            // The earlier text.
            (Some(_), None) => {}
            (None, Some(Marker::Begin(name))) => {
                let Some((_, generate)) = generators.iter().find(|(known, _)| *known == name)
                else {
                    let known: Vec<_> = generators.iter().map(|(known, _)| *known).collect();
                    let known = known.join(", ");
                    return Err((number, format!("no generator `{name}`; there are: {known}")));
                };
                new.push_str(line);
                new.push_str(generate(files).trim_end());
                new.push('\n');
                open = Some((number, name));
            }
            (Some((_, name)), Some(Marker::End(end))) if end == name => {
                new.push_str(line);
                open = None;
            }
            (_, Some(Marker::Begin(name) | Marker::End(name))) => {
                return Err((number, format!("the marker of `{name}` is out of place")));
            }
        }
    }
    match open {
        Some((number, name)) => Err((number, format!("`{name}` has no end marker"))),
        None => Ok(new),
    }
}

enum Marker<'a> {
    Begin(&'a str),
    End(&'a str),
}

fn marker(line: &str) -> Option<Marker<'_>> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    if let Some(name) = inner.strip_prefix("/gen:") {
        return Some(Marker::End(name));
    }
    inner.strip_prefix("gen:").map(Marker::Begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERATORS: &[Generator] =
        &[("one", |_| "| one |\n".to_owned()), ("two", |_| "| two |".to_owned())];

    #[test]
    fn parts_are_renewed_and_the_rest_stays() {
        let old = "# Title\n<!-- gen:one -->\nold\nolder\n<!-- /gen:one -->\nbetween\n\
            <!-- gen:two -->\n<!-- /gen:two -->\nend";
        let new = renew(old, GENERATORS, &[]).unwrap();
        assert_eq!(
            new,
            "# Title\n<!-- gen:one -->\n| one |\n<!-- /gen:one -->\nbetween\n\
            <!-- gen:two -->\n| two |\n<!-- /gen:two -->\nend"
        );
        assert_eq!(renew(&new, GENERATORS, &[]).unwrap(), new, "a second time changes nothing");
    }

    #[test]
    fn wrong_markers_are_named_with_their_line() {
        for (text, line, what) in [
            (
                "\n<!-- gen:three -->\n<!-- /gen:three -->",
                2,
                "no generator `three`; there are: one",
            ),
            ("<!-- gen:one -->\n", 1, "no end marker"),
            ("<!-- gen:one -->\n<!-- gen:two -->\n", 2, "out of place"),
            ("<!-- gen:one -->\n<!-- /gen:two -->\n", 2, "out of place"),
            ("<!-- /gen:one -->\n", 1, "out of place"),
        ] {
            let (at, message) = renew(text, GENERATORS, &[]).unwrap_err();
            assert!(at == line && message.contains(what), "{text:?}: {at}: {message}");
        }
    }

    #[test]
    fn a_stale_document_is_found_with_its_first_difference() {
        let root = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(root.path().join("A.md"), text).unwrap();
        write("nothing generated\n");
        assert_eq!(stale(root.path()).unwrap(), []);

        write("# Codes\n\n<!-- gen:error-codes -->\nold\n<!-- /gen:error-codes -->\n");
        let found = stale(root.path()).unwrap();
        let [(path, line, new)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((path.as_str(), *line), ("A.md", 4));

        write(new);
        assert_eq!(stale(root.path()).unwrap(), []);
    }
}
