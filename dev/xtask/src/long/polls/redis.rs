//! Redis under callgrind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic as _, miette};

use super::super::killed::Killed;
use crate::instructions::{PLAIN_CPU, counted};
use crate::long::stage::wire::Wire;
use crate::programs::{redis_server, valgrind};

/// Valgrind needs some seconds to start it on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// The function that runs a script, which is the only part that is counted.
const MEASURED: &str = "evalShaCommand";

/// Callgrind writes its counts and counts from 0 again when Redis enters this function.
const MARK: &str = "echoCommand";

/// The server; ends with this.
pub(super) struct CountedRedis {
    folder: PathBuf,
    /// Number of the profile that callgrind writes next.
    profile: u32,
    pub(super) wire: Wire,
    _server: Killed,
}

impl CountedRedis {
    /// Starts it. Profiles are written to `folder`, which becomes empty first.
    pub(super) fn start(folder: &Path) -> miette::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(folder).into_diagnostic()?;
        }
        fs::create_dir_all(folder).into_diagnostic()?;
        let mut command = Command::new(valgrind::ensure()?);
        command.args(["--tool=callgrind", "--collect-atstart=no", "--compress-strings=no"]);
        command.arg(format!("--toggle-collect={MEASURED}")).arg(format!("--dump-before={MARK}"));
        command.arg(format!("--callgrind-out-file={}", folder.join("profile").display()));
        command.arg(redis_server::ensure()?.path).args(["--port", "0", "--save", ""]);
        let socket = folder.join("r.sock");
        command.arg("--dir").arg(folder).arg("--unixsocket").arg(&socket);
        command.env("GLIBC_TUNABLES", PLAIN_CPU).stdin(Stdio::null());
        let log = fs::File::create(folder.join("log")).into_diagnostic()?;
        command.stdout(log.try_clone().into_diagnostic()?).stderr(log);
        let server = Killed::start(&mut command)?;
        let since = Instant::now();
        while !socket.exists() {
            if since.elapsed() > START_MAX {
                return Err(miette!("Redis did not start: {}", folder.join("log").display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let wire = Wire::connect(&socket)?;
        Ok(Self { folder: folder.to_owned(), profile: 1, wire, _server: server })
    }

    /// Its address, for the settings.
    pub(super) fn url(&self) -> String {
        format!("unix://{}", self.folder.join("r.sock").display())
    }

    /// Returns the instructions of all scripts since the last count.
    pub(super) fn count(&mut self) -> miette::Result<u64> {
        self.wire.command(&["ECHO", "count"])?;
        let profile = self.folder.join(format!("profile.{}", self.profile));
        self.profile += 1;
        counted(&profile)
    }
}
