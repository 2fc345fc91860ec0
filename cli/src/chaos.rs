//! `redcall chaos`: attacks private servers and workers under load, on this machine, and judges
//! from outside what became of every call. And the workers that it attacks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressStyle};
use redcall_chaos::{ChaosError, Counts, Options, Post, Progress, Stage};
use redcall_common::output as out;
use redcall_common::report::Problem;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::signals::Endings;

/// How often the display is drawn again.
const DRAW: Duration = Duration::from_millis(200);

/// How long, how many, how often.
#[derive(Args)]
pub(crate) struct Chaos {
    /// How long calls are made and attacks carried out, 1s to 1day
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    duration: Duration,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count(2, 64))]
    workers: usize,
    /// Callers, each with a client of its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = count(1, 500))]
    callers: usize,
    /// The workers' lease, 300ms to 5s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = lease)]
    lease: Duration,
    /// How long callers wait for each answer, 1s to 1min
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = timeout)]
    timeout: Duration,
    /// The seed of plan and load; else a random one, which is printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How often a worker is killed while it holds a lease; by default once in 5 s
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// How often a worker is stopped for longer than its lease; by default once in 20 s
    #[arg(long, value_name = "N")]
    stops: Option<u32>,
    /// How often Redis is killed and started again; by default once in 30 s
    #[arg(long, value_name = "N")]
    restarts: Option<u32>,
    /// How often connections are cut; by default once in 15 s
    #[arg(long, value_name = "N")]
    cuts: Option<u32>,
    /// How many spells of late and split replies there are; by default one in 30 s
    #[arg(long, value_name = "N")]
    delays: Option<u32>,
    /// How many spells of lost replies there are; by default one in 30 s
    #[arg(long, value_name = "N")]
    losses: Option<u32>,
    /// How many spells of unread logs there are; by default one in 30 s. Unless it is 0, every
    /// fourth worker logs to a full device
    #[arg(long, value_name = "N")]
    logs: Option<u32>,
    /// How many spells there are in which Redis cannot save and refuses writes; by default one in
    /// 60 s
    #[arg(long, value_name = "N")]
    disks: Option<u32>,
    /// How many spells there are in which callers and workers lack a right; by default one in 30 s
    #[arg(long, value_name = "N")]
    rights: Option<u32>,
    /// How often Redis's clock steps and steps back, where libfaketime is installed; by default
    /// once in 30 s
    #[arg(long, value_name = "N")]
    clocks: Option<u32>,
    /// Keep the history also if all promises held
    #[arg(long)]
    keep: bool,
}

/// What a worker of such a run has to know.
#[derive(Args)]
pub(crate) struct ChaosWorker {
    url: String,
    #[arg(value_parser = lease)]
    lease: Duration,
    folder: PathBuf,
}

fn duration(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(86_400))
}

fn lease(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(300), Duration::from_secs(5))
}

fn timeout(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_secs(60))
}

fn between(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time < least || time > most {
        let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
        return Err(format!("it has to be {least} to {most}"));
    }
    Ok(time)
}

fn count(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

impl Chaos {
    /// Runs it, and prints the report. The exit code is 0 if all promises held, else 1.
    pub(crate) async fn run(self, as_json: bool) -> Result<u8, Failure> {
        let options = self.options()?;
        let (progress, seen) = watch::channel(Progress::default());
        let interrupted = CancellationToken::new();
        let interrupt = interrupted.clone();
        let mut endings = Endings::listen().map_err(|error| Failure::system(&error))?;
        tokio::spawn(async move {
            // Once to end the attacks and judge them. Twice, and nothing is left to be judged.
            endings.next().await;
            interrupt.cancel();
            let ending = endings.next().await;
            std::process::exit(ending.exit_code().into());
        });
        let display = tokio::spawn(display(options.duration, seen));
        let done = redcall_chaos::run(options, progress, interrupted).await;
        let _ = display.await;
        let report = done.map_err(|error| {
            let (name, code) = match error {
                ChaosError::Redis(_) => ("unavailable", 3),
                _ => ("internal", 1),
            };
            Failure::of(Problem::of(&error), name, code)
        })?;
        match as_json {
            true => out::line(serde_json::json!(report))?,
            false => out::print(&report)?,
        }
        Ok(u8::from(!report.ok))
    }

    fn options(self) -> Result<Options, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::system(&error))?;
        let usual = Counts::usual(self.duration);
        Ok(Options {
            duration: self.duration,
            workers: self.workers,
            callers: self.callers,
            lease: self.lease,
            timeout: self.timeout,
            counts: Counts {
                kills: self.kills.unwrap_or(usual.kills),
                stops: self.stops.unwrap_or(usual.stops),
                restarts: self.restarts.unwrap_or(usual.restarts),
                cuts: self.cuts.unwrap_or(usual.cuts),
                delays: self.delays.unwrap_or(usual.delays),
                losses: self.losses.unwrap_or(usual.losses),
                logs: self.logs.unwrap_or(usual.logs),
                disks: self.disks.unwrap_or(usual.disks),
                rights: self.rights.unwrap_or(usual.rights),
                clocks: self.clocks.unwrap_or(usual.clocks),
            },
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
            worker: (program, vec!["chaos-worker".to_owned()]),
            keep: self.keep,
        })
    }
}

impl ChaosWorker {
    /// Runs jobs until its standard input ends.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        let Self { url, lease, folder } = self;
        redcall_chaos::serve(&Post { url, lease, folder })
            .map_err(|error| Failure::of(Problem::of(&error), "internal", 1))
    }
}

/// Draws a bar on stderr, if that is a terminal, until the run is over.
async fn display(duration: Duration, mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::new(duration.as_secs());
    // The template is ours: it is right.
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {bar:30} {wide_msg}") {
        bar.set_style(style);
    }
    while progress.changed().await.is_ok() {
        let now = *progress.borrow_and_update();
        bar.set_position(match now.stage {
            Stage::Begins => 0,
            Stage::Attacks => bar.elapsed().as_secs(),
            Stage::Waits | Stage::Judges => duration.as_secs(),
        });
        bar.set_message(line(&now));
        tokio::time::sleep(DRAW).await;
    }
    bar.finish_and_clear();
}

fn line(now: &Progress) -> String {
    let Progress { calls, ended, kills, stops, restarts, cuts, spells, .. } = now;
    let said = match now.stage {
        Stage::Begins => "starting",
        Stage::Attacks => "",
        Stage::Waits => "waiting for the rest; ",
        Stage::Judges => "judging; ",
    };
    let attacks = format!("{kills} kills, {stops} stops, {restarts} restarts, {cuts} cuts");
    format!("{said}{ended} of {calls} calls, {attacks}, {spells} spells")
}
