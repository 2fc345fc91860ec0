//! Numbers of commands and names of jobs.

use std::collections::{BTreeMap, HashMap};

use super::command::{CUSTOM, Command};

/// The jobs of commands, and the commands of jobs.
pub(super) struct Names {
    jobs: BTreeMap<i64, String>,
    numbers: HashMap<String, i64>,
    /// In front of the number of a command that has no name.
    others: Option<String>,
}

impl Names {
    pub(super) fn new(jobs: &BTreeMap<i64, String>, others: Option<&str>) -> Self {
        let numbers = jobs.iter().map(|(number, job)| (job.clone(), *number)).collect();
        Self { jobs: jobs.clone(), numbers, others: others.map(str::to_owned) }
    }

    /// Returns the job of a command, if it has one.
    pub(super) fn job_of(&self, command: &Command) -> Option<String> {
        let named = self.jobs.get(&command.number).cloned();
        let number = command.custom.unwrap_or(command.number);
        named.or_else(|| Some(format!("{}{number}", self.others.as_ref()?)))
    }

    /// Returns the number of the command that is this job, if there is one.
    pub(super) fn number_of(&self, job: &str) -> Option<i64> {
        let other = || job.strip_prefix(self.others.as_deref()?)?.parse().ok();
        self.numbers.get(job).copied().or_else(other)
    }

    /// Returns the number for the result of this job.
    pub(super) fn result_of(&self, job: &str) -> i64 {
        self.number_of(job).unwrap_or(CUSTOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_jobs_belong_together() {
        let names = Names::new(&BTreeMap::from([(100, "start".to_owned())]), Some("command."));
        let command = |number, custom| Command {
            number,
            custom,
            nonce: "0".to_owned(),
            data: "null".to_owned(),
        };
        let job = |number, custom| names.job_of(&command(number, custom)).unwrap();
        assert_eq!((job(100, None), job(7, None)), ("start".into(), "command.7".into()));
        assert_eq!(
            (job(CUSTOM, Some(42)), job(-5, None)),
            ("command.42".into(), "command.-5".into())
        );
        assert_eq!(job(CUSTOM, None), "command.99999");
        assert_eq!((names.number_of("start"), names.number_of("command.7")), (Some(100), Some(7)));
        assert_eq!((names.number_of("add"), names.result_of("add")), (None, CUSTOM));
        let few = Names::new(&BTreeMap::from([(CUSTOM, "own".to_owned())]), None);
        assert_eq!(few.job_of(&command(7, None)), None);
        assert_eq!(few.job_of(&command(CUSTOM, Some(3))).as_deref(), Some("own"));
    }
}
