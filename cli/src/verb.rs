//! The traits of a verb: [`ClientVerb`] if it needs a client, else [`Verb`].

use std::path::PathBuf;
use std::time::{Duration, Instant};

use redcall_client::{Client, Code, Settings};
use redcall_common::failure::{Failure, UNREACHABLE, json};
use redcall_common::report::Problem;
use redcall_store::Connector;
use tokio::time::timeout;

/// Minimum time left for a verb after connecting.
const LEFT_MIN: Duration = Duration::from_millis(1);

/// The options of every verb.
pub(crate) struct Options {
    /// The settings file, if named.
    pub(crate) settings: Option<PathBuf>,
    /// Redis URL, instead of that of the settings.
    pub(crate) redis: Option<String>,
    pub(crate) as_json: bool,
}

impl Options {
    /// Reads the settings.
    pub(crate) fn read_settings(&self) -> Result<Settings, Failure> {
        let mut settings = Settings::load(self.settings.as_deref())?;
        if let Some(url) = &self.redis {
            settings.redis.url.clone_from(url);
        }
        Ok(settings)
    }
}

/// A verb of `redcall`.
pub(crate) trait Verb {
    /// Runs it and returns the exit code.
    async fn start(self, options: &Options) -> Result<u8, Failure>;
}

/// A verb that runs over a client.
pub(crate) trait ClientVerb: Sized {
    /// Runs it.
    async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure>;

    /// Reads its data before a connection is made: invalid data need no Redis.
    fn read(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Returns the option `--timeout`, if it has one. It limits connecting, authentication and
    /// loading of scripts, too.
    fn timeout(&mut self) -> Option<&mut Option<Duration>> {
        None
    }

    /// Returns `true` if only the time left after connecting is for the request.
    fn deducts_connecting(&self) -> bool {
        true
    }

    /// Sets the timeout unless it is set.
    fn or_timeout(mut self, timeout: Option<Duration>) -> Self {
        if let Some(own) = self.timeout() {
            *own = own.or(timeout);
        }
        self
    }
}

impl<V: ClientVerb> Verb for V {
    async fn start(mut self, options: &Options) -> Result<u8, Failure> {
        self.read()?;
        let settings = options.read_settings()?;
        let client = connect(&mut self, &settings).await?;
        let done = self.run(&client, options.as_json).await;
        client.flush().await;
        done.map(|()| 0)
    }
}

/// Connects within the timeout of `verb`, and reduces the timeout by the time used.
async fn connect(verb: &mut impl ClientVerb, settings: &Settings) -> Result<Client, Failure> {
    let started = Instant::now();
    let limit = verb.timeout().and_then(|own| *own);
    let client = client(settings, limit).await?;
    if verb.deducts_connecting()
        && let Some(Some(left)) = verb.timeout()
    {
        *left = left.saturating_sub(started.elapsed()).max(LEFT_MIN);
    }
    Ok(client)
}

/// Connects within `limit`, if there is one.
pub(crate) async fn client(
    settings: &Settings,
    limit: Option<Duration>,
) -> Result<Client, Failure> {
    let connecting = Client::from_settings(settings);
    let connected = match limit {
        Some(limit) => timeout(limit, connecting).await.map_err(|_| too_slow(limit, settings))?,
        None => connecting.await,
    };
    connected.map_err(|error| Failure::from(&error))
}

fn too_slow(limit: Duration, settings: &Settings) -> Failure {
    let address = Connector::new(&settings.redis, "redcall");
    let address = address.map_or_else(|_| "an address".to_owned(), |it| it.address().to_owned());
    let message =
        format!("Redis at {address} did not accept the connection within {limit:?} (--timeout)");
    let help = "Nothing was sent. Check that Redis listens there (`redis.url`), its load and the \
                 network, or raise --timeout.";
    let json = json(Code::Unavailable.as_str(), &message);
    Failure { problems: vec![Problem::new(message).help(help)], code: UNREACHABLE, json }
}
