//! Builds [`Settings`] from their sources, in order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::Map;

use super::section::{LoadContext, Section};
use super::{Settings, SettingsError, env, file, read};

/// Loads with the directory and environment of this process.
pub(super) fn from_process(path: Option<&Path>) -> Result<Settings, SettingsError> {
    let cwd = std::env::current_dir().map_err(|source| SettingsError::Unreadable {
        file: PathBuf::from("."),
        problem: "the working directory cannot be read".to_owned(),
        help: "start from a directory that exists".to_owned(),
        source,
    })?;
    // `vars` would panic at any variable that is not Unicode.
    from_given(path, &cwd, &env::ours(std::env::vars_os())?)
}

/// Loads with given directory and environment.
pub(super) fn from_given(
    path: Option<&Path>,
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Settings, SettingsError> {
    let cwd = std::path::absolute(cwd).unwrap_or_else(|_| cwd.to_path_buf());
    let file = file::find(path, &cwd, env)?;
    let text = file.as_deref().map(file::text).transpose()?;
    from_text(file.zip(text), &cwd, env)
}

/// Loads with the given text of the file, if there is one.
pub(super) fn from_text(
    file: Option<(PathBuf, String)>,
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> Result<Settings, SettingsError> {
    let origin = file.as_ref().map(|(file, _)| file.display().to_string());
    let mut tree = match (&file, &origin) {
        (Some((file, text)), Some(origin)) => file::parse(file, text, origin)?,
        _ => Map::new(),
    };
    let file = file.map(|(file, _)| file);
    let base = file.as_deref().and_then(Path::parent).unwrap_or(cwd).to_path_buf();
    let context = LoadContext::new(origin, base);
    env::apply(&mut tree, env, &context);
    let settings = read::settings(Section::root(&context, tree));
    SettingsError::of(context.into_mistakes())?;
    Ok(Settings { file, ..settings })
}
