//! Debian and its kin: the distribution's own packages, fetched and unpacked without root.
//!
//! apt checks what it fetches against the distribution's signed lists, so nothing is trusted here
//! that `apt install` would not trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use miette::IntoDiagnostic as _;

use crate::workspace::{output, runs};

/// The packages to fetch.
pub(crate) struct Packages {
    /// Those that are always fetched; the libraries that they need are found out.
    names: &'static [&'static str],
    /// The suite of Debian that has them, if it is not the system's own.
    backports: bool,
}

/// Redis, in the version of the distribution. The server is a link in the first package to a
/// program in the second.
pub(crate) const REDIS: Packages =
    Packages { names: &["redis-server", "redis-tools"], backports: false };

/// Valkey: 8 in Debian 12's backports.
pub(crate) const VALKEY: Packages =
    Packages { names: &["valkey-server", "valkey-tools"], backports: true };

/// Valgrind, in the version of the distribution.
pub(crate) const VALGRIND: Packages = Packages { names: &["valgrind"], backports: false };

/// NATS, in the version of the distribution.
pub(crate) const NATS: Packages = Packages { names: &["nats-server"], backports: false };

/// Where the system notes which packages are installed.
const STATUS: &str = "/var/lib/dpkg/status";

/// Returns `true` if this is a system with apt.
pub(crate) fn is_here() -> bool {
    runs("apt-get", "--version") && runs("dpkg", "--version")
}

/// Unpacks the packages and the libraries that this machine lacks into `<folder>/unpacked`.
pub(crate) fn unpack(folder: &Path, wanted: &Packages) -> miette::Result<()> {
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).into_diagnostic()?;
    // The system's package lists first. They are empty in most containers, and where they are old
    // the files that they name are gone: then with lists of our own.
    let system = Apt { lists: None, sources: None };
    if system.fetch(&packages, wanted).is_err() {
        let own = Apt { lists: Some(folder.join("apt")), sources: wanted.sources(folder)? };
        own.update()?;
        own.fetch(&packages, wanted)?;
    }
    let root = folder.join("unpacked");
    for entry in fs::read_dir(&packages).into_diagnostic()? {
        let package = entry.into_diagnostic()?.path();
        output(Command::new("dpkg").arg("-x").arg(&package).arg(&root))?;
    }
    // Only the unpacked files are needed from now on.
    for done in [packages, folder.join("apt")] {
        _ = fs::remove_dir_all(done);
    }
    Ok(())
}

impl Packages {
    /// A list of sources with the backports, where the system is Debian.
    fn sources(&self, folder: &Path) -> miette::Result<Option<PathBuf>> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let field = |name: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(|value| value.trim_matches('"'))
        };
        let (Some("debian"), Some(codename), true) =
            (field("ID"), field("VERSION_CODENAME"), self.backports)
        else {
            return Ok(None);
        };
        let file = folder.join("sources.list");
        let suite = |suite: &str| format!("deb http://deb.debian.org/debian {suite} main\n");
        let text = suite(codename) + &suite(&format!("{codename}-backports"));
        fs::write(&file, text).into_diagnostic()?;
        Ok(Some(file))
    }
}

/// apt, with the system's package lists or with lists of our own.
struct Apt {
    lists: Option<PathBuf>,
    /// Instead of the system's sources.
    sources: Option<PathBuf>,
}

impl Apt {
    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        // Messages are shown to the user, but the output that `needed` parses must not be
        // translated.
        command.env("LC_ALL", "C");
        // An offline machine should learn it soon.
        command.args(["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]);
        // As root, apt would fetch as a user without write access to our folder.
        command.args(["-o", "APT::Sandbox::User="]);
        // A list that cannot be fetched is an error, not a warning.
        command.args(["-o", "APT::Update::Error-Mode=any"]);
        if let Some(lists) = &self.lists {
            let option = |name: &str, path: &Path| format!("Dir::{name}={}", path.display());
            command.args(["-o", &option("State", &lists.join("state"))]);
            command.args(["-o", &option("Cache", &lists.join("cache"))]);
            command.args(["-o", &option("State::status", Path::new(STATUS))]);
            if let Some(sources) = &self.sources {
                command.args(["-o", &option("Etc::sourcelist", sources)]);
                command.args(["-o", &option("Etc::sourceparts", Path::new("/dev/null"))]);
            }
        }
        command
    }

    /// Fetches the lists.
    fn update(&self) -> miette::Result<()> {
        if let Some(lists) = &self.lists {
            for folder in ["state/lists/partial", "cache/archives/partial"] {
                fs::create_dir_all(lists.join(folder)).into_diagnostic()?;
            }
        }
        output(self.command().args(["--quiet", "--quiet", "update"])).map(drop)
    }

    /// Fetches the packages that are needed into `folder`.
    fn fetch(&self, folder: &Path, wanted: &Packages) -> miette::Result<()> {
        let plan = output(
            self.command()
                .args(["--simulate", "--yes", "--no-install-recommends"])
                .args(["-o", "Debug::NoLocking=1", "install"])
                .args(wanted.names),
        )?;
        let mut download = self.command();
        download.args(["--quiet", "--quiet", "download"]).args(needed(&plan, wanted));
        output(download.current_dir(folder)).map(drop)
    }
}

/// The wanted packages, and those libraries that an installation would bring with them, from
/// apt's simulation of one. Its other companions (users, services) matter only to an installation,
/// and the C library must be the one that the machine's loader belongs to.
fn needed<'a>(plan: &'a str, wanted: &Packages) -> Vec<&'a str> {
    let new = plan.lines().filter_map(|line| {
        let mut words = line.strip_prefix("Inst ")?.split(' ');
        let name = words.next()?;
        // `Inst NAME [OLD] (NEW …)`: an old version that would do is there.
        let installed = words.next()?.starts_with('[');
        (name.starts_with("lib") && !name.starts_with("libc6") && !installed).then_some(name)
    });
    wanted.names.iter().copied().chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_are_the_server_and_the_libraries_that_are_missing() {
        let plan = "\
Reading package lists...
The following NEW packages will be installed:
  libatomic1 libjemalloc2 redis-server redis-tools
Inst libc6 [2.36-9] (2.36-9+deb12u10 Debian:12.11/stable [amd64])
Inst libssl3 [3.0.15] (3.0.17 Debian:12.11/stable [amd64])
Inst libatomic1 (12.2.0-14 Debian:12.11/stable [amd64])
Inst sysvinit-utils (3.06-4 Debian:12.11/stable [amd64])
Inst libjemalloc2 (5.3.0-1 Debian:12.11/stable [amd64])
Inst redis-tools (5:7.0.15 Debian:12.11/stable [amd64])
Inst redis-server (5:7.0.15 Debian:12.11/stable [amd64])
Conf libatomic1 (12.2.0-14 Debian:12.11/stable [amd64])
";
        assert_eq!(
            needed(plan, &REDIS),
            ["redis-server", "redis-tools", "libatomic1", "libjemalloc2"]
        );
    }
}
