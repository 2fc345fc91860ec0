//! README.md's own example, verbatim.

use std::path::Path;
use std::process::Command;

use redcall_tests::{Bench, binary};

#[tokio::test]
async fn the_example_of_the_readme_is_the_one_that_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let source = std::fs::read_to_string(root.join("example/examples/hello.rs")).unwrap();
    let (_, code) = source.split_once("\n\n").unwrap();
    assert!(readme.contains(&format!("```rust\n{code}```\n")), "README.md shows other lines");
    let bench = Bench::new().await;
    let url = bench.redis.url();
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(binary("examples/hello"));
        command.env("REDIS_URL", url).current_dir(std::env::temp_dir()).output().unwrap()
    });
    let output = run.await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 + 2 = 3\n");
    assert!(output.status.success());
}
