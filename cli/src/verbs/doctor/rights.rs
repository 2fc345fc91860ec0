//! ACL rights of the user of `redis.url`, as needed by workers, clients and this program.

use redcall_client::{Inspector, Settings, StoreError};
use redcall_common::finding::{Finding, Level};
use redcall_store::rights::{MissingRight, Role};

use super::failed::{unknown, with_causes};

const CHECK: &str = "rights";
const CURE: &str = "Grant them (ACL SETUSER). The commands are in docs/reference/protocol.md, \
                    *Rights at Redis*.";

/// Returns a finding for each role with missing rights, or one `ok`.
pub(super) async fn check(inspector: &Inspector, settings: &Settings) -> Vec<Finding> {
    let queues = settings.served_queues();
    let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
    let mut findings = Vec::new();
    for (role, role_name) in [(Role::Worker, "workers"), (Role::Client, "clients")] {
        match inspector.missing_rights(role, &queues).await {
            Ok(missing) => findings.extend(of(role_name, &missing)),
            Err(error) => return vec![refused(&error)],
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "the user has all rights that workers and clients need"));
    }
    findings
}

/// Returns the findings for missing rights of `role_name`: required and optional ones.
fn of(role_name: &str, missing: &[MissingRight]) -> Vec<Finding> {
    let rules = |is_needed: bool| {
        let rules = missing.iter().filter(|right| right.is_needed == is_needed);
        rules.map(|right| right.rule.as_str()).collect::<Vec<_>>().join(", ")
    };
    let means = format!("With the user of `redis.url`, {role_name} do not work.");
    let kinds = [
        (rules(true), Level::Problem, means.as_str()),
        (
            rules(false),
            Level::Warning,
            "Answers arrive later, or some facts about Redis are unknown.",
        ),
    ];
    let finding = |(rules, level, means): (String, Level, &str)| {
        let what = format!("{role_name} lack {rules}");
        (!rules.is_empty()).then(|| Finding::new(CHECK, level, what, means, CURE))
    };
    kinds.into_iter().filter_map(finding).collect()
}

/// The finding for a check that failed.
fn refused(error: &StoreError) -> Finding {
    if !error.is_of_rights() {
        return unknown(CHECK, error);
    }
    let what = format!("the user may not run scripts: {}", with_causes(error));
    Finding::new(CHECK, Level::Problem, what, "No job can be queued or run.", CURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_required_right_is_a_problem_and_optional_a_warning() {
        let right = |rule: &str, is_needed| MissingRight { rule: rule.to_owned(), is_needed };
        let found = of("workers", &[right("+hset", true), right("+info", false)]);
        let levels: Vec<_> = found.iter().map(|one| (one.level, one.what.as_str())).collect();
        let expected =
            [(Level::Problem, "workers lack +hset"), (Level::Warning, "workers lack +info")];
        assert_eq!(levels, expected);
        assert!(of("workers", &[]).is_empty());
    }
}
