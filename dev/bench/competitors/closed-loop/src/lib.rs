//! Closed-loop load for the adapters in Rust, with the output format of `redcall bench call`.
//!
//! Each caller makes one call after the other. A worker has a minute for its first answer; then
//! follow a warm-up and the measurement. Calls in flight at the end are waited for and count.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redcall_bench::{CallFigures, Times};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// An error of an adapter.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long the first answer may take; the adapters bound the others.
const LONGEST: Duration = Duration::from_secs(60);

/// The role of an adapter process.
pub enum Role {
    /// Prints its name, version and settings.
    About,
    /// To work.
    Worker,
    /// To call.
    Caller(Load),
}

/// How many call, and for how long.
#[derive(Clone, Copy)]
pub struct Load {
    callers: usize,
    warm_up: Duration,
    lasts: Duration,
}

impl Role {
    /// From the command line: `about`, `worker`, or `call CALLERS WARM_UP_MS LASTS_MS`.
    ///
    /// # Errors
    ///
    /// For any other arguments.
    pub fn from_args() -> Result<Self, Failure> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["about"] => Ok(Self::About),
            ["worker"] => Ok(Self::Worker),
            ["call", callers, warm_up, lasts] => Ok(Self::Caller(Load {
                callers: callers.parse()?,
                warm_up: Duration::from_millis(warm_up.parse()?),
                lasts: Duration::from_millis(lasts.parse()?),
            })),
            _ => Err("about, worker, or call CALLERS WARM_UP_MS LASTS_MS".into()),
        }
    }
}

impl Load {
    /// Calls `one`, and prints the figures. Each caller has a clone of `client`.
    ///
    /// # Errors
    ///
    /// No worker has answered the first call within a minute, or a caller has panicked.
    pub async fn run<Client, One, Answer>(self, client: Client, one: One) -> Result<(), Failure>
    where
        Client: Clone + Send + 'static,
        One: Fn(Client) -> Answer + Copy + Send + 'static,
        Answer: Future<Output = Result<i64, Failure>> + Send,
    {
        let began = Instant::now();
        // With NATS, calls fail at once until a worker listens.
        while let Err(error) = timeout(LONGEST, one(client.clone())).await? {
            if began.elapsed() > LONGEST {
                return Err(error);
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.round(&client, one, self.warm_up).await?;
        let figures = self.round(&client, one, self.lasts).await?;
        println!("{}", serde_json::to_string(&figures)?);
        Ok(())
    }

    async fn round<Client, One, Answer>(
        self,
        client: &Client,
        one: One,
        lasts: Duration,
    ) -> Result<CallFigures, Failure>
    where
        Client: Clone + Send + 'static,
        One: Fn(Client) -> Answer + Copy + Send + 'static,
        Answer: Future<Output = Result<i64, Failure>> + Send,
    {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut callers = JoinSet::new();
        let began = Instant::now();
        for _ in 0..self.callers {
            let (client, seen) = (client.clone(), seen.clone());
            callers.spawn(async move {
                while began.elapsed() < lasts {
                    let called = Instant::now();
                    let answer = one(client.clone()).await;
                    let took = called.elapsed();
                    locked(&seen).note(answer, took);
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended?;
        }
        let Seen { times, errors, last } = std::mem::take(&mut *locked(&seen));
        if let Some(last) = last {
            eprintln!("{errors} calls failed, the last with {last}");
        }
        Ok(times.figures(errors, began.elapsed()))
    }
}

/// The results of all callers.
#[derive(Default)]
struct Seen {
    times: Times,
    errors: u64,
    last: Option<Failure>,
}

impl Seen {
    /// A wrong answer counts as an error.
    fn note(&mut self, answer: Result<i64, Failure>, took: Duration) {
        let error = match answer {
            Ok(3) => return self.times.note(took),
            Ok(wrong) => format!("{wrong} is not the sum").into(),
            Err(error) => error,
        };
        self.errors += 1;
        self.last = Some(error);
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
