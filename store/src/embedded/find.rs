//! Which server program to use: named by the user, on PATH, or unpacked into the cache.

use std::ffi::OsString;
use std::fmt;
use std::iter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::EmbeddedError;

/// The variable that names the server program. It has precedence.
const VARIABLE: &str = "REDCALL_REDIS_SERVER";

/// The variable that names a program with `WAITAOF`, for tests that need one.
const NEWER_VARIABLE: &str = "REDCALL_NEWER_SERVER";

/// Either works; the order only makes the choice deterministic.
const NAMES: [&str; 2] = ["valkey-server", "redis-server"];

/// The oldest supported version: the first with sharded pub/sub.
const OLDEST: Version = Version { major: 7, minor: 0, patch: 0 };

/// The version of a Redis or Valkey server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl Version {
    /// The first version with `WAITAOF`.
    pub const KNOWS_WAITAOF: Self = Self { major: 7, minor: 2, patch: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A server program that runs on this machine and is new enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProgram {
    /// The program.
    pub path: PathBuf,
    /// The version that it reports.
    pub version: Version,
}

/// Finds a server program, version 7.0 or newer: `REDCALL_REDIS_SERVER`, else `valkey-server` or
/// `redis-server` on PATH, else a copy that `cargo xtask` unpacked into [`cache_dir`]. Runs each
/// candidate once with `--version`, which takes some milliseconds.
///
/// # Errors
/// [`EmbeddedError::Unusable`] if the variable does not name a usable server (no other place is
/// tried then), [`EmbeddedError::NotFound`] if there is none.
pub fn find_server() -> Result<ServerProgram, EmbeddedError> {
    find_in(&Places::of_environment())
}

/// Finds a server program with `WAITAOF`: `REDCALL_NEWER_SERVER`, else the program of
/// [`find_server`], else a Valkey that `cargo xtask` unpacked into [`cache_dir`]. Skips programs
/// that are older or do not run. Runs each once with `--version`.
#[must_use]
pub fn find_newer() -> Option<ServerProgram> {
    newer_in(std::env::var_os(NEWER_VARIABLE), &Places::of_environment())
}

/// Returns the folder of our downloads: `$XDG_CACHE_HOME/redcall` or `~/.cache/redcall`, on macOS
/// `~/Library/Caches/redcall`. `None` without a home directory. The folder may not exist.
#[must_use]
pub fn cache_dir() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    // The XDG specification ignores relative paths.
    let base = named.filter(|path| path.is_absolute()).or_else(|| {
        let below_home = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(below_home))
    })?;
    Some(base.join("redcall"))
}

/// The places to search, apart from the environment so that tests can have their own.
struct Places {
    named: Option<OsString>,
    path: OsString,
    cache: Option<PathBuf>,
    probe: fn(&Path) -> Result<ServerProgram, EmbeddedError>,
}

impl Places {
    fn of_environment() -> Self {
        Self {
            named: std::env::var_os(VARIABLE).filter(|value| !value.is_empty()),
            path: std::env::var_os("PATH").unwrap_or_default(),
            cache: cache_dir(),
            probe,
        }
    }
}

fn find_in(places: &Places) -> Result<ServerProgram, EmbeddedError> {
    if let Some(named) = &places.named {
        return (places.probe)(Path::new(named));
    }
    let mut tried = vec![format!("neither {} on PATH", NAMES.join(" nor "))];
    let on_path = NAMES
        .iter()
        .flat_map(|name| std::env::split_paths(&places.path).map(move |folder| folder.join(name)));
    let unpacked = places.cache.iter().flat_map(|cache| unpacked_in(cache, "redis"));
    for candidate in on_path.chain(unpacked).filter(|path| is_executable(path)) {
        match (places.probe)(&candidate) {
            Ok(program) => return Ok(program),
            Err(EmbeddedError::Unusable { path, reason }) => {
                tried.push(format!("{}: {reason}", path.display()));
            }
            Err(other) => return Err(other),
        }
    }
    if let Some(cache) = &places.cache {
        tried.push(format!("no copy in {}", cache.display()));
    }
    Err(EmbeddedError::NotFound { tried: tried.join("; ") })
}

fn newer_in(named: Option<OsString>, places: &Places) -> Option<ServerProgram> {
    let unpacked = places.cache.iter().flat_map(|cache| unpacked_in(cache, "valkey"));
    let usable = |path: PathBuf| (places.probe)(&path).ok();
    let named = named.map(PathBuf::from).into_iter().filter_map(usable);
    let found = iter::once_with(|| find_in(places)).flatten();
    let mut all = named.chain(found).chain(unpacked.filter_map(usable));
    all.find(|server| server.version >= Version::KNOWS_WAITAOF)
}

/// Returns paths like `<cache>/redis-7.0.15/redis-server`, by the name before the dash, newest
/// first.
fn unpacked_in(cache: &Path, name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    let mut found: Vec<(Version, PathBuf)> = entries
        .filter_map(|entry| {
            let folder = entry.file_name().into_string().ok()?;
            let version = parse_numbers(folder.strip_prefix(name)?.strip_prefix('-')?)?;
            Some((version, entry.path().join(format!("{name}-server"))))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, path)| path).collect()
}

/// Runs a program to read its version.
///
/// # Errors
/// [`EmbeddedError::Unusable`] if it does not run, is neither Redis nor Valkey, or is too old.
pub fn probe(path: &Path) -> Result<ServerProgram, EmbeddedError> {
    let unusable = |reason: String| EmbeddedError::Unusable { path: path.to_owned(), reason };
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unusable(format!("it could not be run: {error}")))?;
    accept(path, &String::from_utf8_lossy(&output.stdout)).unwrap_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = complaint.lines().next().unwrap_or("it printed no version");
        Err(unusable(format!("`--version` ended with {}: {complaint}", output.status)))
    })
}

/// Checks the version in a program's output; `None` if it has none.
fn accept(path: &Path, output: &str) -> Option<Result<ServerProgram, EmbeddedError>> {
    let version = parse_version(output)?;
    let path = path.to_owned();
    if version < OLDEST {
        let reason = format!("version {version} is too old, {OLDEST} is needed");
        return Some(Err(EmbeddedError::Unusable { path, reason }));
    }
    Some(Ok(ServerProgram { path, version }))
}

/// Parses `Redis server v=7.0.15 sha=…` or `Valkey server v=8.0.1 sha=…`.
fn parse_version(output: &str) -> Option<Version> {
    parse_numbers(output.split_whitespace().find_map(|word| word.strip_prefix("v="))?)
}

/// Parses `7.0.15`, also with a suffix (`8.1.0-rc1`).
fn parse_numbers(text: &str) -> Option<Version> {
    let mut numbers = text.split(['.', '-', '~']).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Version { major: next()?, minor: next()?, patch: next()? })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that [`read`] treats as a server with this `--version` output. Not a script to run: a
    /// script that was just written may still be open in a child forked by another test.
    fn stand_in(folder: &Path, name: &str, version_line: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, version_line).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn read(path: &Path) -> Result<ServerProgram, EmbeddedError> {
        accept(path, &std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn places(path: &Path, cache: &Path) -> Places {
        Places { named: None, path: path.into(), cache: Some(cache.to_owned()), probe: read }
    }

    #[test]
    fn the_order_is_variable_then_path_then_cache() {
        let temp = tempfile::tempdir().unwrap();
        let (bin, cache) = (temp.path().join("bin"), temp.path().join("cache"));
        let mut places = places(&bin, &cache);

        stand_in(&cache.join("redis-7.0.15"), "redis-server", "Redis server v=7.0.15 sha=0:0");
        let newest = stand_in(&cache.join("redis-7.10.2"), "redis-server", "Redis server v=7.10.2");
        assert_eq!(find_in(&places).unwrap().path, newest);

        stand_in(&bin, "redis-server", "Redis server v=6.2.4 sha=0:0");
        assert_eq!(find_in(&places).unwrap().path, newest, "6.2 on PATH is too old");

        let redis = stand_in(&bin, "redis-server", "Redis server v=7.2.4 sha=0:0");
        assert_eq!(find_in(&places).unwrap().path, redis);

        let valkey = stand_in(&bin, "valkey-server", "Valkey server v=8.0.1 sha=0:0");
        let found = find_in(&places).unwrap();
        assert_eq!((found.path, found.version.to_string()), (valkey, "8.0.1".to_owned()));

        let named = stand_in(temp.path(), "mine", "Redis server v=7.0.0");
        places.named = Some(named.clone().into());
        assert_eq!(find_in(&places).unwrap().path, named);
    }

    #[test]
    fn newer_server_order_is_variable_then_any_then_unpacked() {
        let temp = tempfile::tempdir().unwrap();
        let (bin, cache) = (temp.path().join("bin"), temp.path().join("cache"));
        let places = places(&bin, &cache);
        stand_in(&bin, "redis-server", "Redis server v=7.0.15 sha=0:0");
        assert_eq!(newer_in(None, &places), None);

        stand_in(&cache.join("valkey-8.0.1"), "valkey-server", "Valkey server v=8.0.1 sha=0:0");
        let newest =
            stand_in(&cache.join("valkey-8.1.0"), "valkey-server", "Valkey server v=8.1.0");
        assert_eq!(newer_in(None, &places).unwrap().path, newest);

        let redis = stand_in(&bin, "redis-server", "Redis server v=7.2.0 sha=0:0");
        assert_eq!(newer_in(None, &places).unwrap().path, redis);

        let old = stand_in(temp.path(), "old", "Redis server v=7.1.9");
        assert_eq!(newer_in(Some(old.into()), &places).unwrap().path, redis);
        let named = stand_in(temp.path(), "mine", "Redis server v=7.2.0");
        assert_eq!(newer_in(Some(named.clone().into()), &places).unwrap().path, named);
    }

    #[test]
    fn named_program_other_than_server_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        stand_in(temp.path(), "redis-server", "Redis server v=7.2.4 sha=0:0");
        let mut places = places(temp.path(), temp.path());
        places.probe = probe;
        for (named, reason) in [("/bin/false", "--version"), ("/no/such/program", "not be run")] {
            places.named = Some(named.into());
            let message = find_in(&places).unwrap_err().to_string();
            assert!(message.contains(named) && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn too_old_server_is_named_in_the_error() {
        let temp = tempfile::tempdir().unwrap();
        stand_in(temp.path(), "redis-server", "Redis server v=6.0.16 sha=0:0");
        let error = find_in(&places(temp.path(), &temp.path().join("none"))).unwrap_err();
        assert!(matches!(error, EmbeddedError::NotFound { .. }));
        assert!(error.to_string().contains("6.0.16 is too old"), "{error}");
    }
}
