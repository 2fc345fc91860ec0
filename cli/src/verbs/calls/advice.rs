//! Help lines of call errors: the next step, with known alternatives.

use std::collections::BTreeSet;
use std::time::Duration;

use redcall_client::{CallError, Client, Code, Retry};
use redcall_common::name::is_job_name;
use serde_json::value::RawValue;
use tokio::time::timeout;

use redcall_common::failure::Failure;

/// Time to read the names that live workers handle.
const NAMES_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum number of names listed.
const NAMES_MAX: usize = 8;

/// Returns the next step after `error`.
pub(crate) fn help(error: &CallError) -> String {
    let retry = error.code().retry();
    let is_unqueued = !error.may_be_queued() && retry != Retry::Useless;
    let text = match error.code() {
        _ if error.is_read_or_admin() && retry == Retry::Useless => {
            "Check the key, the id and the queue."
        }
        _ if error.is_read_or_admin() => "Repeating the command is safe.",
        Code::NoWorkers => {
            "Run `redcall-worker` with this queue in `worker.queues`, or name another queue with \
             --queue. Nothing was queued: calling again is safe."
        }
        Code::InvalidData => return data_help(error),
        Code::Unauthorized => {
            "Sign with a key that may call this job (`auth.sign_with`). The worker's log states \
             the reason."
        }
        Code::UnknownJob => "Correct the name, or map the job in the settings of a worker.",
        Code::TooLarge if !error.may_be_queued() => {
            "Send less data, or raise the limit (`[limits]` in the settings)."
        }
        _ if is_unqueued => "Nothing was queued: calling again is safe.",
        _ => match retry {
            Retry::Safe => "It did not run: calling again is safe.",
            Retry::MayRepeat => "It may have run: call again only if running twice is harmless.",
            Retry::Useless => "The same call fails again: correct its name, data or options.",
        },
    };
    text.to_owned()
}

/// The next step after `invalid_data`, with the path that the worker reports.
fn data_help(error: &CallError) -> String {
    if matches!(error, CallError::Decode(_)) {
        return "The job has run; its answer has another type.".to_owned();
    }
    let data = match error {
        CallError::Failed(error) => error.data.as_deref().map(RawValue::get),
        _ => None,
    };
    let data = data.and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    match data.as_ref().and_then(|data| data["path"].as_str()) {
        Some(path) => format!("Correct the data at `{path}`; the error has the expected type."),
        None => "Correct the data: the handler does not accept them.".to_owned(),
    }
}

/// Adds the names that live workers handle to an `unknown_job` for `name`.
pub(crate) async fn with_names<T>(
    result: Result<T, Failure>,
    name: &str,
    client: &Client,
) -> Result<T, Failure> {
    let Err(mut failure) = result else { return result };
    if failure.json["error"]["code"] == Code::UnknownJob.as_str() {
        let workers = timeout(NAMES_TIMEOUT, client.inspect().workers()).await;
        if let Ok(Ok(workers)) = workers {
            let names = workers.iter().flat_map(|worker| &worker.jobs);
            // Worker records are untrusted.
            let names = names.filter(|name| is_job_name(name)).map(String::as_str).collect();
            let help = unknown_job_help(name, &names);
            let problems = failure.problems.into_iter();
            failure.problems = problems.map(|problem| problem.help(help.clone())).collect();
        }
    }
    Err(failure)
}

fn unknown_job_help(name: &str, known: &BTreeSet<&str>) -> String {
    let distances = known.iter().map(|known| (distance(name, known), *known));
    let nearest = distances.min().filter(|(distance, _)| *distance <= 1 + name.chars().count() / 4);
    let mut help = match nearest {
        // They listen on other queues, or the handler itself does not know the name.
        Some((0, _)) => {
            return format!(
                "Live workers handle `{name}`: name their queue with --queue, or correct the \
                 handler."
            );
        }
        Some((_, similar)) => format!("Did you mean `{similar}`? "),
        None => String::new(),
    };
    if !known.is_empty() {
        let listed: Vec<&str> = known.iter().take(NAMES_MAX).copied().collect();
        help.push_str(&format!("Live workers handle: {}", listed.join(", ")));
        match known.len().saturating_sub(NAMES_MAX) {
            0 => help.push_str(". "),
            more => help.push_str(&format!(" and {more} more. ")),
        }
    }
    help.push_str(&format!("Correct the name, or add `[jobs.{name}]` to a worker's settings."));
    help
}

/// Returns the number of insertions, deletions and replacements between two names.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, char) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, same) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(char != *same);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let pairs =
            [("add", "add"), ("ad", "add"), ("adn", "add"), ("", "add"), ("größe", "große")];
        assert_eq!(pairs.map(|(one, other)| distance(one, other)), [0, 1, 1, 3, 1]);
    }

    #[test]
    fn unknown_job_help_names_similar_and_known_jobs() {
        let known: BTreeSet<&str> = ["add", "nap"].into();
        let help = unknown_job_help("ad", &known);
        assert!(help.starts_with("Did you mean `add`? Live workers handle: add, nap. "), "{help}");
        let help = unknown_job_help("add", &known);
        assert!(help.starts_with("Live workers handle `add`: name their queue"), "{help}");
        let help = unknown_job_help("absent", &known);
        assert!(help.starts_with("Live workers handle: add, nap. Correct the name"), "{help}");
        assert!(unknown_job_help("x", &BTreeSet::new()).starts_with("Correct the name"));
        let many: Vec<String> = (0..10).map(|n| format!("job-{n}")).collect();
        let help = unknown_job_help("add", &many.iter().map(String::as_str).collect());
        assert!(help.contains("job-7 and 2 more. "), "{help}");
    }
}
