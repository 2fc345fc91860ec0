//! The programs of README.md, verbatim.

use std::process::{Command, Output};

use redcall_tests::{Bench, binary};

use crate::support::root;

/// The greatest length of a landing page.
const MAX_LINES: usize = 170;

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Runs `command` to its end, with `REDIS_URL` set to `url`.
async fn run(mut command: Command, url: String) -> Output {
    command.env("REDIS_URL", url).current_dir(std::env::temp_dir());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_example_of_the_readme_is_the_one_that_runs() {
    let source = std::fs::read_to_string(root().join("example/examples/hello.rs")).unwrap();
    let (_, code) = source.split_once("\n\n").unwrap();
    assert!(readme().contains(&format!("```rust\n{code}```\n")), "README.md shows other lines");
    let bench = Bench::new().await;
    let output = run(Command::new(binary("examples/hello")), bench.redis.url()).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 + 2 = 3\n");
    assert!(output.status.success());
}

#[tokio::test]
async fn python_call_of_the_readme_prints_its_answer() {
    let Some(python) = std::env::var_os("REDCALL_PYTHON") else { return };
    let readme = readme();
    let (_, rest) = readme.split_once("<!-- test:python-call -->\n```python\n").unwrap();
    let (program, _) = rest.split_once("```\n").unwrap();
    let bench = Bench::new().await;
    let _worker = bench.worker().await;
    let mut command = Command::new(python);
    command.args(["-c", program]);
    let output = run(command, bench.redis.url().replace("redis+unix://", "unix://")).await;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The worker of the tests maps `add` to `builtin:add`.
    assert_eq!(out, "{'type': 'result', 'data': {'answer': 3}}\n", "{err}");
}

#[test]
fn landing_page_is_short() {
    let lines = readme().lines().count();
    assert!(lines <= MAX_LINES, "{lines} lines");
}
