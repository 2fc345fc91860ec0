//! What the user of `redis.url` may do: all that workers, clients and this program need.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_store::rights::{MissingRight, Role};

use super::{unknown, with_causes};

const CHECK: &str = "rights";
const CURE: &str = "Grant them (ACL SETUSER): docs/reference/protocol.md, *Rights at Redis*.";

/// A finding for each role whose rights are not complete; one that says so if all are.
pub(super) async fn look(inspector: &Inspector, settings: &Settings) -> Vec<Finding> {
    let queues = settings.served_queues();
    let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
    let mut findings = Vec::new();
    for (role, who) in [(Role::Worker, "workers"), (Role::Client, "clients")] {
        match inspector.missing_rights(role, &queues).await {
            Ok(missing) => findings.extend(of(who, &missing)),
            Err(error) => return vec![refused(&error)],
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "the user may do all that workers and clients need"));
    }
    findings
}

/// What the rights that `who` lacks are: those that are needed, and those that are useful.
fn of(who: &str, missing: &[MissingRight]) -> Vec<Finding> {
    let rules = |is_needed: bool| {
        let rules = missing.iter().filter(|right| right.is_needed == is_needed);
        rules.map(|right| right.rule.as_str()).collect::<Vec<_>>().join(", ")
    };
    let means = format!("With the user of `redis.url` {who} do not work.");
    let kinds = [
        (rules(true), Level::Problem, means.as_str()),
        (rules(false), Level::Warning, "Answers are noticed later, or less is known of Redis."),
    ];
    let finding = |(rules, level, means): (String, Level, &str)| {
        let what = format!("{who} lack {rules}");
        (!rules.is_empty()).then(|| Finding::new(CHECK, level, what, means, CURE))
    };
    kinds.into_iter().filter_map(finding).collect()
}

/// The question was not answered.
fn refused(error: &StoreError) -> Finding {
    if !error.is_of_rights() {
        return unknown(CHECK, error);
    }
    let what = format!("the user may run no scripts: {}", with_causes(error));
    Finding::new(CHECK, Level::Problem, what, "Nothing can be queued or run.", CURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needed_right_is_a_problem_and_a_useful_one_a_warning() {
        let right = |rule: &str, is_needed| MissingRight { rule: rule.to_owned(), is_needed };
        let found = of("workers", &[right("+hset", true), right("+info", false)]);
        let levels: Vec<_> = found.iter().map(|one| (one.level, one.what.as_str())).collect();
        let expected =
            [(Level::Problem, "workers lack +hset"), (Level::Warning, "workers lack +info")];
        assert_eq!(levels, expected);
        assert!(of("workers", &[]).is_empty());
    }
}
