//! `redcall dead list|show|retry|purge`.

use clap::{Args, Subcommand};
use redcall_client::{Client, Code, DeadLetter, DeadLetters, Selection};
use redcall_common::report::Problem;

use crate::output::{ago, table};
use crate::pause::failed;
use crate::{Failure, json};

/// How many letters `list` shows when it is not told.
const SHOWN: usize = 50;
/// Longest reason in a row, characters.
const REASON: usize = 60;

/// Dead letters of one queue.
#[derive(Args)]
pub(crate) struct Dead {
    /// Whose dead letters
    #[arg(long, global = true, default_value = "default")]
    queue: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List dead letters, the newest first
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Print all that is known of a request: its history, its data
    Show {
        /// The request's id, or its place in the stream
        id: String,
    },
    /// Queue dead letters again, the oldest first, with their time to begin anew
    Retry {
        #[command(flatten)]
        which: Which,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete dead letters
    Purge {
        #[command(flatten)]
        which: Which,
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which letters; every condition must hold.
#[derive(Args)]
struct Which {
    /// Ids of requests, or places in the stream
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those that ended with this error code
    #[arg(long, value_parser = code)]
    code: Option<Code>,
    /// Those of this job
    #[arg(long)]
    name: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "code", "name"])]
    all: bool,
    /// How many at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

fn code(text: &str) -> Result<Code, String> {
    Code::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        format!("there is no such code; there are {}", known.join(", "))
    })
}

impl Which {
    fn selection(self) -> Selection {
        Selection { ids: self.ids, code: self.code, name: self.name, limit: self.limit }
    }

    /// The same, if it says which: nobody is to delete everything by leaving something out.
    fn explicit(self) -> Result<Selection, Failure> {
        let says = self.all || !self.ids.is_empty() || self.code.is_some() || self.name.is_some();
        if says {
            return Ok(self.selection());
        }
        let message = "nothing says which dead letters";
        let problem = Problem::new(message.to_owned()).help("Name ids, --code, --name or --all.");
        Err(Failure { problems: vec![problem], code: 2, json: json("invalid_request", message) })
    }
}

impl Dead {
    pub(crate) async fn run(self, client: &Client, as_json: bool) -> Result<(), Failure> {
        if !redcall_common::name::is_queue(&self.queue) {
            let message = format!("queue `{}` is not 1 to 64 of [A-Za-z0-9_.-]", self.queue);
            let json = json("invalid_request", &message);
            return Err(Failure { problems: vec![Problem::new(message)], code: 2, json });
        }
        let dead = client.dead(&self.queue);
        match self.verb {
            Verb::List { which } => list(&dead, which.selection(), as_json).await,
            Verb::Show { id } => show(&dead, id, as_json).await,
            Verb::Retry { which, dry_run } => {
                retry(&dead, &which.explicit()?, dry_run, as_json).await
            }
            Verb::Purge { which, dry_run } => {
                let purged = dead.purge(&which.explicit()?, dry_run).await.map_err(failed)?;
                if as_json {
                    println!("{}", serde_json::json!({ "purged": purged, "dry_run": dry_run }));
                } else {
                    println!("{purged} {}", if dry_run { "would be deleted" } else { "deleted" });
                }
                Ok(())
            }
        }
    }
}

async fn list(dead: &DeadLetters, which: Selection, as_json: bool) -> Result<(), Failure> {
    let limit = which.limit.or(Some(SHOWN));
    let letters = dead.list(&Selection { limit, ..which }).await.map_err(failed)?;
    if as_json {
        println!("{}", serde_json::json!({ "dead": letters }));
    } else if letters.is_empty() {
        println!("there are no such dead letters");
    } else {
        let head = ["age#", "id", "job", "code", "runs#", "reason"];
        println!("{}", table(&head, letters.into_iter().map(row)));
    }
    Ok(())
}

fn row(letter: DeadLetter) -> Vec<String> {
    let reason: String = letter.reason.chars().take(REASON).collect();
    let cut = if reason.len() < letter.reason.len() { "…" } else { "" };
    let runs = letter.history.as_deref().map_or(0, runs);
    vec![
        ago(letter.at_ms),
        if letter.id.is_empty() { letter.entry } else { letter.id },
        letter.name.unwrap_or_else(|| "-".to_owned()),
        letter.code,
        runs.to_string(),
        format!("{}{cut}", reason.replace('\n', " ")),
    ]
}

fn runs(history: &serde_json::value::RawValue) -> usize {
    serde_json::from_str::<Vec<serde_json::Value>>(history.get()).map_or(0, |runs| runs.len())
}

async fn show(dead: &DeadLetters, id: String, as_json: bool) -> Result<(), Failure> {
    let which = Selection { ids: vec![id.clone()], ..Selection::default() };
    let letters = dead.list(&which).await.map_err(failed)?;
    if letters.is_empty() {
        let message = format!("there is no dead letter `{id}` in this queue");
        let json = json("not_found", &message);
        let problem =
            Problem::new(message).help("`redcall dead list` shows them; --queue names one.");
        return Err(Failure { problems: vec![problem], code: 1, json });
    }
    if as_json {
        println!("{}", serde_json::json!({ "dead": letters }));
        return Ok(());
    }
    for letter in letters {
        let name = letter.name.as_deref().unwrap_or("-");
        println!("{} ({name}), place {}, {} ago", letter.id, letter.entry, ago(letter.at_ms));
        println!("{}: {}", letter.code, letter.reason);
        println!("given up by worker {}", letter.worker);
        for run in letter.history.as_deref().map(lines).unwrap_or_default() {
            println!("  {run}");
        }
        println!("{}", String::from_utf8_lossy(&letter.request));
    }
    Ok(())
}

/// One line per run.
fn lines(history: &serde_json::value::RawValue) -> Vec<String> {
    let runs: Vec<serde_json::Value> = serde_json::from_str(history.get()).unwrap_or_default();
    let line = |run: &serde_json::Value| {
        let text = |field: &str| run[field].as_str().unwrap_or("-").to_owned();
        let took = run["ended_at"].as_u64().zip(run["started_at"].as_u64());
        let took = took.map_or_else(String::new, |(to, from)| {
            format!(" after {}", crate::output::time(to.saturating_sub(from)))
        });
        let (attempt, code, worker) = (&run["attempt"], text("code"), text("worker"));
        format!("run {attempt} on {worker}: {code}{took}: {}", text("message"))
    };
    runs.iter().map(line).collect()
}

async fn retry(
    dead: &DeadLetters,
    which: &Selection,
    dry_run: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let retried = dead.retry(which, dry_run).await.map_err(failed)?;
    if as_json {
        let (queued, left) = (retried.queued, retried.left);
        let done = serde_json::json!({
            "matched": retried.matched, "queued": queued, "left": left,
            "unreadable": retried.unreadable, "dry_run": dry_run,
        });
        println!("{done}");
    } else {
        let done = if dry_run { "would be queued" } else { "queued" };
        println!("{} of {} {done}", retried.queued, retried.matched);
        for place in &retried.unreadable {
            println!("{place}: not a request, nothing can run it");
        }
        if retried.left > 0 {
            println!("{} left: the queue is full", retried.left);
        }
    }
    Ok(())
}
