//! A private Redis server for one test.

use std::path::PathBuf;
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use redcall_store::embedded::{Embedded, EmbeddedError, EmbeddedOptions, find_newer};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use crate::certificates::Certificates;
#[cfg(target_os = "linux")]
use crate::clock::Clock;
use crate::free_port::{TRIES, free_port};

/// The driver's own limits, 1 s and 0.5 s, are too short for a loaded machine and for blocking
/// commands.
const PATIENCE: Duration = Duration::from_secs(30);

/// A private Redis server without persistence. It ends with this value, and with the test process
/// in any case. Dropping blocks for some milliseconds.
#[derive(Debug)]
pub struct TestRedis {
    server: Embedded,
    tls: Option<Tls>,
    #[cfg(target_os = "linux")]
    clock: Option<Clock>,
}

/// The additional parts of a server with TLS.
#[derive(Debug)]
struct Tls {
    port: u16,
    certificates: Certificates,
}

impl TestRedis {
    /// Starts a server on a Unix socket.
    ///
    /// # Panics
    /// If there is no Redis or Valkey server on the machine, or it does not start; the message
    /// names the package to install.
    pub async fn start() -> Self {
        Self::start_with([] as [&str; 0]).await
    }

    /// Starts a server on a Unix socket with further arguments, such as `["--requirepass", "x"]`.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_with(args: impl IntoIterator<Item: Into<String>>) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        match launch(None, args).await {
            Ok(server) => Self::of(server, None),
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a server that knows `WAITAOF` (7.2 or newer), which the one of the other tests need
    /// not. `cargo xtask test` provides it and names it in `REDCALL_NEWER_SERVER`.
    ///
    /// # Panics
    /// When there is none: such a test is never left out.
    pub async fn start_newer(args: impl IntoIterator<Item: Into<String>>) -> Self {
        let newer =
            find_newer().expect("a server of version 7.2 or newer: cargo xtask test gets one");
        let args = args.into_iter().map(Into::into).collect();
        match launch(Some(newer.path), args).await {
            Ok(server) => Self::of(server, None),
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a server that takes TLS connections on a loopback port, with a certificate for
    /// `localhost` from an authority of its own ([`Self::ca_file`]). Clients need no certificate.
    ///
    /// # Panics
    /// As [`Self::start`]; also when the server was built without TLS.
    pub async fn start_tls() -> Self {
        let certificates = Certificates::create();
        let mut last = None;
        for _ in 0..TRIES {
            let port = free_port();
            match launch(None, tls_args(port, &certificates)).await {
                Ok(server) => {
                    return Self::of(server, Some(Tls { port, certificates }));
                }
                Err(error @ EmbeddedError::EndedEarly { .. }) => last = Some(error),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no server with TLS after {TRIES} tries: {}", last.expect("there was a try"));
    }

    /// Starts a server on a Unix socket whose clock the test sets: [`Self::set_clock`].
    ///
    /// # Panics
    /// As [`Self::start`]; also when there is no C compiler.
    #[cfg(target_os = "linux")]
    pub async fn start_with_clock() -> Self {
        let clock = Clock::create();
        match launch(Some(clock.program()), Vec::new()).await {
            Ok(server) => Self { clock: Some(clock), ..Self::of(server, None) },
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets the server's clock this many seconds ahead of the machine's.
    ///
    /// # Panics
    /// When it was not started by [`Self::start_with_clock`].
    #[cfg(target_os = "linux")]
    pub fn set_clock(&self, ahead: i32) {
        self.clock.as_ref().expect("a clock of its own").set(ahead.into());
    }

    fn of(server: Embedded, tls: Option<Tls>) -> Self {
        Self {
            server,
            tls,
            #[cfg(target_os = "linux")]
            clock: None,
        }
    }

    /// The address that the code under test is given: `redis+unix:///…`, or
    /// `rediss://localhost:PORT` of a server with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.tls {
            Some(tls) => format!("rediss://localhost:{}", tls.port),
            None => self.server.url(),
        }
    }

    /// The authority's certificate (PEM) of a server with TLS. The file lives as long as this.
    #[must_use]
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.tls.as_ref().map(|tls| tls.certificates.ca())
    }

    /// Default settings with this server's address and authority.
    #[must_use]
    pub fn settings(&self) -> RedisSettings {
        RedisSettings {
            url: self.url(),
            url_named: true,
            ca_file: self.ca_file(),
            ..RedisSettings::default()
        }
    }

    /// A connection for the test's own commands, always by the Unix socket. It waits for
    /// 30 s for a reply instead of the driver's half second, so blocking commands can be used.
    ///
    /// # Panics
    /// When the server does not accept it.
    pub async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.server.url()).unwrap();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// The process id of the server, for tests that stop or kill it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.server.dir().join("r.sock")
    }

    /// Returns the server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }
}

async fn launch(program: Option<PathBuf>, args: Vec<String>) -> Result<Embedded, EmbeddedError> {
    // Redis checks for a pending SIGTERM this often a second: at its default, 10, every test would
    // end up to 0.1 s later.
    let often = ["--hz", "100"].map(str::to_owned);
    let extra_args = often.into_iter().chain(args).collect();
    Embedded::start(EmbeddedOptions { program, extra_args, ..EmbeddedOptions::default() }).await
}

fn tls_args(port: u16, certificates: &Certificates) -> Vec<String> {
    let path = |path: PathBuf| path.into_os_string().into_string().unwrap();
    let args = [
        // The dash: ::1 only where the machine has it.
        vec!["--bind".to_owned(), "127.0.0.1".to_owned(), "-::1".to_owned()],
        vec!["--tls-port".to_owned(), port.to_string()],
        vec!["--tls-cert-file".to_owned(), path(certificates.server())],
        vec!["--tls-key-file".to_owned(), path(certificates.server_key())],
        vec!["--tls-ca-cert-file".to_owned(), path(certificates.ca())],
        vec!["--tls-auth-clients".to_owned(), "no".to_owned()],
    ];
    args.concat()
}
