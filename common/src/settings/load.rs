//! Builds [`Settings`] from their sources, in order of precedence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::Map;

use super::Settings;
use super::sections::mapping::{jobs, pools, schedules, services};
use super::sections::{
    self, admin, auth, client, dead, events, gateways, limits, log, queues, worker,
};
use super::source::error::SettingsError;
use super::source::section::{LoadContext, Section};
use super::source::{env, file};

impl Settings {
    /// Reads the settings of this process: from `path` (the `--settings` flag), else from the file
    /// that `REDCALL_SETTINGS` names, else from `redcall.toml`, `redcall.yaml`, `redcall.yml` or
    /// `redcall.json` in the working directory (the first that exists), else without a file.
    ///
    /// Single values are taken from `REDCALL__SECTION__KEY`, before `REDIS_URL`, before the file,
    /// before the default. Names of jobs in a variable match in any case
    /// (`REDCALL__JOBS__WORD_COUNT__TIMEOUT`, `REDCALL__JOBS__ADD__RETRIES__MAX`), lists are `a,b`
    /// or JSON, and an empty variable counts as set: if a secret is missing, no default may replace
    /// it.
    ///
    /// ```
    /// use redcall_common::settings::Settings;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let file = folder.path().join("redcall.toml");
    /// std::fs::write(&file, "[worker]\nconcurrency = 4\n")?;
    /// assert_eq!(Settings::load(Some(&file))?.worker.concurrency, 4);
    ///
    /// std::fs::write(&file, "[worker]\nconcurency = 4\n")?;
    /// let error = Settings::load(Some(&file)).unwrap_err();
    /// assert!(error.to_string().contains("worker.concurency"), "{error}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if a named or found file cannot be read, is malformed, or if a key in it
    /// or in the environment is unknown or has an invalid value. All mistakes are reported at once.
    pub fn load(path: Option<&Path>) -> Result<Self, SettingsError> {
        from_process(path)
    }

    /// As [`Settings::load`], with given working directory and environment.
    ///
    /// # Errors
    ///
    /// As for [`Settings::load`].
    pub fn load_from(
        path: Option<&Path>,
        cwd: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        from_given(path, cwd, env)
    }

    /// As [`Settings::load_from`], with the text of `file` given. For `dev/fuzz/`, where writing a
    /// file for each input would take too long.
    ///
    /// # Errors
    ///
    /// As for [`Settings::load`].
    #[doc(hidden)]
    pub fn load_text(
        file: &Path,
        text: &str,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, SettingsError> {
        from_text(Some((file.to_path_buf(), text.to_owned())), Path::new("/"), env)
    }
}

/// Loads with the directory and environment of this process.
fn from_process(path: Option<&Path>) -> Result<Settings, SettingsError> {
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
fn from_given(
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
fn from_text(
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
    let settings = read(Section::root(&context, tree));
    SettingsError::of(context.into_mistakes())?;
    Ok(Settings { file, ..settings })
}

/// Reads all sections of the tree at `root`; mistakes go to its context.
fn read(mut root: Section<'_>) -> Settings {
    let redis = sections::redis::read(root.section("redis"));
    let client = client::read(root.section("client"));
    let worker = worker::read(root.section("worker"));
    let pools = pools::read(root.section("pools"));
    let jobs = jobs::read(root.section("jobs"), &pools);
    let limits = limits::read(root.section("limits"));
    let services = services::read(root.section("services"), &jobs);
    let schedules = schedules::read(root.section("schedules"), &limits);
    let queues = queues::read(root.section("queues"));
    let auth = root.table("auth", "[auth] and its keys below").map(auth::read);
    let others = gateways::Others { client: &client, limits: &limits, auth: auth.as_ref() };
    let gateways = gateways::read(root.section("gateways"), &others);
    let settings = Settings {
        redis,
        client,
        worker,
        jobs,
        pools,
        services,
        schedules,
        queues,
        auth,
        limits,
        dead: dead::read(root.section("dead")),
        events: events::read(root.section("events")),
        gateways,
        admin: admin::read(root.section("admin")),
        log: log::read(root.section("log")),
        file: None,
    };
    root.finish();
    settings
}
