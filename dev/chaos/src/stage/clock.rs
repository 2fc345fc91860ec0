//! A server whose clock can be stepped: libfaketime, where it is installed, is preloaded into it.
//!
//! The fault proxy cannot do this: scripts read TIME inside the server.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Names a libfaketime outside the usual folders.
pub(crate) const VARIABLE: &str = "REDCALL_LIBFAKETIME";

/// Where distributions have it: in a folder of each of these, or of a folder in them.
const PLACES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/opt/homebrew/lib"];

/// The time limit for the server to print its version.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A clock, and the program that runs a server by it.
pub(crate) struct SteppingClock {
    /// The file that libfaketime reads at each reading of the clock.
    offset: PathBuf,
    /// Starts the server with libfaketime.
    pub(crate) program: PathBuf,
}

impl SteppingClock {
    /// Returns a clock for `server`, with its files in `folder`; `None` if libfaketime is not
    /// installed or the server does not run with it.
    pub(crate) async fn find(server: &Path, folder: &Path) -> io::Result<Option<Self>> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let Some(library) = named.filter(|path| path.is_file()).or_else(installed) else {
            return Ok(None);
        };
        let (offset, program) = (folder.join("clock"), folder.join("redis-with-clock.sh"));
        // libc's allocator comes first: jemalloc reads the time before libfaketime is ready.
        let script = format!(
            "#!/bin/sh\nexport LD_PRELOAD={}:libc.so.6 FAKETIME_TIMESTAMP_FILE={}\n\
             export FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1\n\
             exec {} \"$@\"\n",
            quoted(&library),
            quoted(&offset),
            quoted(server)
        );
        std::fs::write(&program, script)?;
        make_executable(&program)?;
        let clock = Self { offset, program };
        clock.set(0)?;
        Ok(clock.works().await.then_some(clock))
    }

    /// Returns `true` if the server runs with it at all.
    async fn works(&self) -> bool {
        let mut server = Command::new(&self.program);
        server.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = timeout(TIMEOUT, server.kill_on_drop(true).status()).await;
        matches!(ended, Ok(Ok(status)) if status.success())
    }

    /// Sets the clock's difference from the machine's, ms.
    pub(crate) fn set(&self, ms: i64) -> io::Result<()> {
        // In one step: it is read at any moment.
        let next = self.offset.with_extension("next");
        std::fs::write(&next, format!("{:+.3}\n", ms as f64 / 1000.0))?;
        std::fs::rename(next, &self.offset)
    }
}

fn make_executable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn installed() -> Option<PathBuf> {
    let below = |place: &str| {
        let folders = std::fs::read_dir(place).into_iter().flatten().flatten();
        let folders = folders.map(|folder| folder.path()).filter(|path| path.is_dir());
        std::iter::once(PathBuf::from(place)).chain(folders).collect::<Vec<_>>()
    };
    let folders = PLACES.iter().flat_map(|place| below(place));
    let paths = folders.flat_map(|folder| {
        let names = ["faketime/libfaketimeMT.so.1", "libfaketimeMT.so.1", "libfaketimeMT.1.dylib"];
        names.map(|name| folder.join(name))
    });
    paths.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_signed_seconds_to_the_millisecond() {
        let folder = tempfile::tempdir().unwrap();
        let (offset, program) = (folder.path().join("clock"), PathBuf::new());
        let clock = SteppingClock { offset: offset.clone(), program };
        for (ms, text) in [(0, "+0.000\n"), (9500, "+9.500\n"), (-1250, "-1.250\n")] {
            clock.set(ms).unwrap();
            assert_eq!(std::fs::read_to_string(&offset).unwrap(), text);
        }
    }
}
