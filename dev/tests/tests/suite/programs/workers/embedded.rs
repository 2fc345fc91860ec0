//! A private Redis, and files of other users in the temporary folder.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::Ran;

/// Checks the settings of a worker with a private server, whose folder is in `temporary`.
async fn checked(temporary: &Path) -> Ran {
    let variables = [
        ("REDIS_URL", "embedded"),
        ("REDCALL__JOBS__ADD__HANDLER", "builtin:add"),
        ("TMPDIR", temporary.to_str().unwrap()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let env: BTreeMap<String, String> = variables.into();
    let running = Ran::new("redcall-worker", &["check"], &env);
    tokio::time::timeout(Duration::from_secs(30), running).await.expect("it ends")
}

#[tokio::test]
async fn foreign_files_in_the_temporary_folder_do_not_block_a_start() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    for name in ["redcall-trap", "redcall-open", "redcall-linked"] {
        std::fs::DirBuilder::new().mode(0o700).create(at(name)).unwrap();
        std::fs::write(at(name).join("precious"), "kept").unwrap();
    }
    pipe(&at("redcall-pipe"));
    pipe(&at("redcall-trap").join("owner"));
    std::fs::write(at("redcall-open").join("owner"), "1\n").unwrap();
    std::fs::set_permissions(at("redcall-open"), PermissionsExt::from_mode(0o777)).unwrap();
    symlink(at("redcall-open").join("owner"), at("redcall-linked").join("owner")).unwrap();
    symlink(at("redcall-linked"), at("redcall-link")).unwrap();
    let ran = checked(temporary.path()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for name in ["redcall-trap", "redcall-open", "redcall-linked"] {
        assert_eq!(std::fs::read_to_string(at(name).join("precious")).unwrap(), "kept", "{name}");
    }
}

#[tokio::test]
async fn world_writable_temporary_folder_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let ran = checked(temporary.path()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has("no folder for a private Redis server could be made");
    ran.stderr_has("set TMPDIR to a folder of your own (mode 0700)");
    std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o1777)).unwrap();
    assert_eq!(checked(temporary.path()).await.code, 0);
}
