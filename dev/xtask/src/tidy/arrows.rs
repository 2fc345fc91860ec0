//! The permitted dependencies among crates. Reason: `client` and `worker` are two ends that only
//! agree on `common`; a shortcut between them would become a second, unwritten protocol.

use serde_json::Value;

use super::finding::Finding;

/// The permitted dependencies of each crate, besides crates from elsewhere.
const ARROWS: &[(&str, &[&str])] = &[
    ("redcall-common", &[]),
    (STORE, &["redcall-common"]),
    ("redcall-client", &["redcall-common", STORE]),
    ("redcall-probes", &[]),
    ("redcall-worker", &["redcall-common", "redcall-probes", STORE]),
    ("redcall-chaos", &["redcall-client", "redcall-common", STORE, TESTKIT, "redcall-worker"]),
    ("redcall-bench", &["redcall-client", "redcall-common", STORE]),
    ("redcall-bench-inner", &["redcall-client", "redcall-common", STORE]),
    (
        "redcall-gateway",
        &["redcall-client", "redcall-common", "redcall-probes", STORE, "redcall-worker"],
    ),
    ("redcall-cli", &["redcall-client", "redcall-common", STORE]),
    ("redcall-example", &["redcall-client", "redcall-common", STORE, "redcall-worker"]),
    // Only its tests need them, but the table does not distinguish kinds of dependencies.
    ("redcall-model", &["redcall-common", STORE]),
    // Both ends only with its feature `example`, for the documentation examples of either.
    (TESTKIT, &["redcall-client", "redcall-common", STORE, "redcall-worker"]),
    (TESTS, &["redcall-client", "redcall-common", STORE, TESTKIT, "redcall-worker"]),
    ("redcall-fuzz", &["redcall-client", "redcall-common", "redcall-gateway", STORE]),
    ("xtask", &["redcall-common", STORE, TESTKIT]),
];

/// The only shipped crate that names the Redis driver.
const STORE: &str = "redcall-store";

/// Every crate's tests may use it.
const TESTKIT: &str = "redcall-testkit";

/// Tests that need both ends; nothing depends on it.
const TESTS: &str = "redcall-tests";

/// Reason: Redis has one door, the crate `store`, so that every key, script and timeout is
/// reviewed in one place. Tests of other crates reach the driver through the testkit.
const DRIVERS: &[&str] = &["redis", "deadpool-redis"];
const DRIVER_USERS: &[&str] = &[STORE, TESTKIT, TESTS];

/// Checks the output of `cargo metadata --no-deps`.
pub(super) fn check(metadata: &Value) -> Vec<Finding> {
    let packages = list(&metadata["packages"]);
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let finding = |what, fix| Finding { path: manifest(metadata, package), line: 1, what, fix };
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            let what = format!("the crate {name} has no place among the arrows");
            findings.push(finding(what, "add it in dev/xtask/src/tidy/arrows.rs, with its arrows"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let to = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            let fine = allowed.contains(&to) || (for_tests && to == TESTKIT);
            if ours.contains(&to) && !fine {
                let what = format!("{name} must not depend on {to}");
                findings.push(finding(what, "move the shared code into redcall-common"));
            }
            if DRIVERS.contains(&to) && !DRIVER_USERS.contains(&name) {
                let what = format!("{name} must not depend on the Redis driver {to}");
                findings.push(finding(what, "use redcall_store, or in tests the testkit"));
            }
        }
    }
    findings
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The package's Cargo.toml, relative to the workspace's root.
fn manifest(metadata: &Value, package: &Value) -> String {
    let path = package["manifest_path"].as_str().unwrap_or_default();
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the findings when `from` depends on `to`, both in one workspace.
    fn found(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let package = |name: &str, dependencies: Value| {
            let manifest = format!("/src/{name}/Cargo.toml");
            json!({"name": name, "manifest_path": manifest, "dependencies": dependencies})
        };
        let dependency = json!([{"name": to, "kind": kind}]);
        let mut packages = vec![package(from, dependency)];
        if ARROWS.iter().any(|(known, _)| *known == to) {
            packages.push(package(to, json!([])));
        }
        let metadata = json!({"workspace_root": "/src", "packages": packages});
        check(&metadata).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn allowed_arrows_pass() {
        let none: Vec<String> = Vec::new();
        assert_eq!(found("redcall-client", "redcall-common", None), none);
        assert_eq!(found("redcall-client", "redcall-testkit", Some("dev")), none);
        assert_eq!(found(STORE, "redis", None), none);
        assert_eq!(found("xtask", "redcall-testkit", None), none);
        assert_eq!(found("redcall-cli", "tokio", None), none);
    }

    #[test]
    fn forbidden_arrows_are_found_with_their_manifest() {
        for (from, to, kind) in [
            ("redcall-client", "redcall-worker", None),
            ("redcall-worker", "redcall-client", Some("dev")),
            ("redcall-common", "redcall-client", None),
            ("redcall-client", "redcall-testkit", None),
            ("redcall-worker", "redis", None),
            ("redcall-common", "redis", None),
            ("redcall-client", "deadpool-redis", Some("dev")),
        ] {
            let found = found(from, to, kind);
            let [one] = found.as_slice() else { panic!("{from} -> {to}: {found:?}") };
            let begin = format!("{from}/Cargo.toml:1: {from} must not depend on ");
            assert!(one.starts_with(&begin) && one.contains(to), "{one}");
        }
    }

    #[test]
    fn a_new_crate_must_be_placed() {
        let found = found("redcall-new", "tokio", None);
        assert!(found[0].contains("redcall-new has no place among the arrows"), "{found:?}");
    }
}
