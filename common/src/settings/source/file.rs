//! The settings file: its path, and its text as a tree of values.
//!
//! This module does not know any key.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use config::{ConfigError, FileFormat, Format, Map, Value};

use super::error::SettingsError;

/// The environment variable that names the file.
pub(crate) const VARIABLE: &str = "REDCALL_SETTINGS";

/// The file names to search for in the working directory, in this order.
const NAMES: [&str; 4] = ["redcall.toml", "redcall.yaml", "redcall.yml", "redcall.json"];

/// Returns the file to read: `path`, else the environment's, else the first in `cwd`.
pub(crate) fn find(
    path: Option<&Path>,
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Option<PathBuf>, SettingsError> {
    if let Some(path) = path {
        return Ok(Some(relative_to(cwd, path)));
    }
    if let Some(named) = env.get(VARIABLE) {
        if named.is_empty() {
            let help = "give it the path of a settings file, or unset it";
            return Err(SettingsError::invalid(VARIABLE, "", "is empty", help));
        }
        return Ok(Some(relative_to(cwd, Path::new(named))));
    }
    // Not `exists`: a file that exists but cannot be reached has to be reported, not skipped.
    let is_there = |file: &PathBuf| match file.symlink_metadata() {
        Ok(_) => true,
        Err(cause) => cause.kind() != ErrorKind::NotFound,
    };
    Ok(NAMES.iter().map(|name| cwd.join(name)).find(is_there))
}

/// Returns `path` relative to `cwd`, without `./`. Links and `..` stay: if the file is a link (as
/// in mounted configuration), its named directory counts.
fn relative_to(cwd: &Path, path: &Path) -> PathBuf {
    let joined = cwd.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

/// Returns the text of `file`.
pub(crate) fn text(file: &Path) -> Result<String, SettingsError> {
    // Before the name is checked: for a missing file or a directory, the extension is not the
    // problem.
    let metadata = file.metadata().map_err(|cause| unreadable(file, cause))?;
    if metadata.is_dir() {
        return Err(unreadable(file, ErrorKind::IsADirectory.into()));
    }
    format_of(file)?;
    std::fs::read_to_string(file).map_err(|cause| unreadable(file, cause))
}

/// Parses `text`, the content of `file`, into values with `origin` as their origin.
pub(crate) fn parse(
    file: &Path,
    text: &str,
    origin: &String,
) -> Result<Map<String, Value>, SettingsError> {
    let (kind, format) = format_of(file)?;
    // Editors on Windows may add a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    format.parse(Some(origin), text).or_else(|cause| {
        let (problem, help) = if !is_root_error(&*cause) {
            let problem = format!("is not valid {kind}: {}", one_line(&cause.to_string()));
            (problem, format!("correct the {kind} of this file"))
        } else if is_blank(text) {
            return Ok(Map::new());
        } else {
            let help = "write sections with keys, such as worker and its key concurrency";
            ("has no sections".to_owned(), help.to_owned())
        };
        Err(SettingsError::Syntax { file: file.to_path_buf(), problem, help })
    })
}

/// Returns `true` if the text is well formed, but is a list, a single value, or (in YAML) empty.
///
/// It is the one error of `config` itself in this step, and its text repeats the value.
fn is_root_error(cause: &(dyn Error + Send + Sync + 'static)) -> bool {
    // Boxed twice by some versions of the crate.
    cause.is::<ConfigError>() || cause.is::<Box<ConfigError>>()
}

fn format_of(file: &Path) -> Result<(&'static str, FileFormat), SettingsError> {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    match extension.as_str() {
        "toml" => Ok(("TOML", FileFormat::Toml)),
        #[cfg(feature = "yaml")]
        "yaml" | "yml" => Ok(("YAML", FileFormat::Yaml)),
        #[cfg(not(feature = "yaml"))]
        "yaml" | "yml" => Err(SettingsError::Syntax {
            file: file.to_path_buf(),
            problem: "is YAML, which this program was built without".to_owned(),
            help: "enable the feature `yaml` of the crate, or write the file in TOML".to_owned(),
        }),
        "json" => Ok(("JSON", FileFormat::Json)),
        _ => Err(SettingsError::Syntax {
            file: file.to_path_buf(),
            problem: "does not have the extension of a settings file".to_owned(),
            help: "rename it to end in .toml, .yaml, .yml or .json".to_owned(),
        }),
    }
}

fn unreadable(file: &Path, source: io::Error) -> SettingsError {
    let (problem, help) = match source.kind() {
        ErrorKind::NotFound => (
            "there is no such file",
            "create it, or name another by --settings or REDCALL_SETTINGS",
        ),
        ErrorKind::IsADirectory => ("is a directory", "name the file in it"),
        ErrorKind::PermissionDenied => {
            ("this user may not read it", "grant this process's user read access (chmod, chown)")
        }
        ErrorKind::InvalidData => ("is not UTF-8 text", "save it as UTF-8"),
        _ => ("cannot be read", "check that it is a readable file"),
    };
    let (problem, help) = (problem.to_owned(), help.to_owned());
    SettingsError::Unreadable { file: file.to_path_buf(), problem, help, source }
}

fn is_blank(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---" || line == "...")
}

/// Returns a parser's message on one line, without the quoted lines of the file (which may have a
/// password, and start with a gutter of digits and a bar).
fn one_line(message: &str) -> String {
    let is_quote = |line: &&str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
    };
    let kept: Vec<&str> =
        message.lines().filter(|line| !is_quote(line) && !line.trim().is_empty()).collect();
    let joined = kept.join(": ");
    joined.strip_prefix("TOML parse error at ").unwrap_or(&joined).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Here because root, as which CI may run, is never denied access.
    #[test]
    fn forbidden_file_differs_from_missing_file() {
        let message_of = |kind: ErrorKind| unreadable(Path::new("/f"), kind.into()).to_string();
        assert_eq!(message_of(ErrorKind::PermissionDenied), "/f: this user may not read it");
        assert_eq!(message_of(ErrorKind::NotFound), "/f: there is no such file");
        assert_eq!(message_of(ErrorKind::Other), "/f: cannot be read");
    }
}
