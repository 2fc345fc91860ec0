//! A private Redis of a long run, read past the store: the judge shares no code with the product.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::{IntoDiagnostic as _, miette};
use redcall_store::embedded::{Embedded, EmbeddedOptions};

use crate::programs::redis_server;

/// How long Redis, or a step of a run, may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Ends with this.
pub(crate) struct Server {
    embedded: Embedded,
    socket: PathBuf,
    // After the server, which needs it.
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    pub(crate) fn start() -> miette::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.into_diagnostic()?;
        let options =
            EmbeddedOptions { program: Some(redis_server::ensure()?.path), ..Default::default() };
        let embedded = runtime.block_on(Embedded::start(options)).into_diagnostic()?;
        let socket = embedded.dir().join("r.sock");
        Ok(Self { embedded, socket, _runtime: runtime })
    }

    /// Its address, for the settings.
    pub(crate) fn url(&self) -> String {
        self.embedded.url()
    }

    /// Its folder, which ends with it.
    pub(crate) fn folder(&self) -> &Path {
        self.embedded.dir()
    }

    /// Sends commands in lines of their own, and returns all that is answered.
    pub(crate) fn run(&self, commands: &str) -> miette::Result<String> {
        let mut stream = UnixStream::connect(&self.socket).into_diagnostic()?;
        // In parallel with the writes: Redis stops reading when its answers pile up.
        let mut reading = BufReader::new(stream.try_clone().into_diagnostic()?);
        let reader = std::thread::spawn(move || {
            let mut answer = String::new();
            reading.read_to_string(&mut answer).map(|_| answer)
        });
        stream.write_all(commands.as_bytes()).into_diagnostic()?;
        stream.write_all(b"QUIT\r\n").into_diagnostic()?;
        let answer = reader.join().map_err(|_| miette!("the reader has panicked"))?;
        let answer = answer.into_diagnostic()?;
        if let Some(error) = answer.lines().find(|line| line.starts_with('-')) {
            return Err(miette!("Redis refuses: {error}"));
        }
        Ok(answer)
    }

    /// The texts that Redis answers `command` with.
    pub(crate) fn query(&self, command: &str) -> miette::Result<Vec<String>> {
        let answer = self.run(&format!("{command}\r\n"))?;
        let lines: Result<Vec<String>, _> = answer.as_bytes().lines().collect();
        let lines = lines.into_diagnostic()?;
        // Each text follows its length.
        let texts = lines.windows(2).filter(|pair| pair[0].starts_with('$'));
        Ok(texts.map(|pair| pair[1].clone()).collect())
    }
}
