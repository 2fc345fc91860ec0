//! `redcall-bench competitors`, without any competitor, and with adapters that only pretend.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::Ran;

async fn competitors(installed: &Path, args: &[&str]) -> Ran {
    let fixed = ["competitors", "--installed", installed.to_str().unwrap()];
    Ran::new("redcall-bench", &[&fixed, args].concat(), &[].into()).await
}

/// The folders that hold an adapter.
fn adapters() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/competitors");
    let programs = ["adapter.py", "adapter.cjs", "src/main.rs"];
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let adapters = folders.filter(|folder| programs.iter().any(|name| folder.join(name).exists()));
    adapters.map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Installs an adapter whose calls end with the output of `call`.
fn pretend(installed: &Path, name: &str, call: &str) {
    let folder = installed.join(name);
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "#!/bin/sh\ncase $1 in\nabout) echo {name} 1.2.3 ;;\nworker) exec sleep 60 ;;\n\
         call) echo '{call}' ;;\nesac\n"
    );
    let run = folder.join("run");
    fs::write(&run, text).unwrap();
    fs::set_permissions(run, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn absent_competitors_are_listed_with_how_to_install_them() {
    let empty = tempfile::tempdir().unwrap();
    let ran = competitors(empty.path(), &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut expected: Vec<String> = adapters()
        .iter()
        .map(|name| {
            format!("{name} is not installed: run cargo xtask bench competitors {name} --install")
        })
        .collect();
    let mut seen: Vec<&str> = ran.stdout.lines().collect();
    expected.sort();
    seen.sort_unstable();
    assert_eq!(seen, expected);
    let wrong = competitors(empty.path(), &["rk"]).await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    wrong.stderr_has("unknown competitor `rk`. Known:");
}

#[tokio::test]
async fn failed_competitor_does_not_hide_the_others() {
    let installed = tempfile::tempdir().unwrap();
    let figures = |errors| {
        format!(
            r#"{{"calls_per_s": 0.5, "p50_us": 7.0, "p99_us": 8.0, "p999_us": 9.0, "calls": 5,
                "errors": {errors}}}"#
        )
    };
    pretend(installed.path(), "saq", &figures(2));
    pretend(installed.path(), "bullmq", &figures(0));
    let short = ["--rounds", "1", "--lasts", "100", "--warm-up", "50", "--callers", "4"];
    let ran = competitors(installed.path(), &[&["saq", "bullmq"], &short[..]].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for text in ["saq cannot be measured: ", "2 of 7 calls failed", "bullmq 1.2.3"] {
        assert!(ran.stdout.contains(text), "no `{text}` in\n{}", ran.stdout);
    }
    let cells = |start: &str| -> Vec<f64> {
        let row = ran.stdout.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        let figure = |cell: &str| -> Option<f64> {
            // Large ones are printed in thousands.
            let text = cell.split_whitespace().next()?;
            let (text, factor) = text.strip_suffix('k').map_or((text, 1.0), |text| (text, 1000.0));
            Some(text.parse::<f64>().ok()? * factor)
        };
        row.split('|').filter_map(figure).collect()
    };
    assert_eq!(cells("| 4 | bullmq |"), [0.5, 7.0, 8.0]);
    let ours = cells("| | Redcall |");
    let (rate, ratio) = (ours[0], ours[3]);
    // Both are printed to three digits, which may be off by half a percent each.
    assert!((ratio / (rate / 0.5) - 1.0).abs() < 0.011, "{ours:?}");
}
