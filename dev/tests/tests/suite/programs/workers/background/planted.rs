//! A planted pid file, or one of a dead process: no file is overwritten, and no process is
//! signalled.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, note_of, own_file};
use crate::support::{Ran, is_running};

/// A process that has nothing to do with Redcall.
struct Innocent(Child);

impl Innocent {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        Self(sleep.arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    #[track_caller]
    fn is_unharmed(&self) {
        assert!(is_running(i32::try_from(self.0.id()).unwrap()), "it was signalled");
    }
}

impl Drop for Innocent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the output of `stop` if the locked file has this note of another process.
async fn stopped(change: impl Fn(&str) -> String) -> (Ran, Innocent) {
    let (place, innocent) = (Place::new().await, Innocent::start());
    let file = own_file(&place.file("pid"));
    file.try_lock().unwrap();
    std::fs::write(place.file("pid"), change(&note_of(innocent.0.id(), 0))).unwrap();
    let ran = place.run(&["stop"]).await;
    // Else the place would end the process that the file names.
    std::fs::remove_file(place.file("pid")).unwrap();
    (ran, innocent)
}

#[tokio::test]
async fn number_that_is_used_again_is_not_signalled() {
    let replaced = |note: &str, at: usize, text: &str| {
        let mut lines: Vec<&str> = note.lines().collect();
        lines[at] = text;
        lines.join("\n") + "\n"
    };
    for (at, text) in [(3, "1"), (4, "/usr/bin/redcall-worker")] {
        let (ran, innocent) = stopped(|note| replaced(note, at, text)).await;
        assert_eq!((ran.code, &*ran.stdout), (1, ""), "{ran:?}");
        ran.stderr_has(&format!("process {} is not the worker that wrote", innocent.0.id()));
        ran.stderr_has("No process was signalled");
        innocent.is_unharmed();
    }
}

#[tokio::test]
async fn note_without_its_process_start_is_not_trusted() {
    let (ran, innocent) = stopped(|note| note.lines().take(3).collect::<Vec<_>>().join("\n")).await;
    assert_eq!(ran.code, 1);
    innocent.is_unharmed();
}

#[tokio::test]
async fn file_of_another_user_is_not_trusted() {
    let (place, innocent) = (Place::new().await, Innocent::start());
    let file = own_file(&place.file("pid"));
    file.try_lock().unwrap();
    std::fs::write(place.file("pid"), note_of(innocent.0.id(), 0)).unwrap();
    // Only root can give it away; for all others the file's mode is enough.
    let mode = match chown(place.file("pid"), Some(12_345), None) {
        Ok(()) => 0o600,
        Err(_) => 0o666,
    };
    set_mode(&place.file("pid"), mode);
    let ran = place.run(&["stop"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    innocent.is_unharmed();
    let ran = place.run(&["--background"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has(if mode == 0o600 { "belongs to the user 12345" } else { "can write it" });
    std::fs::remove_file(place.file("pid")).unwrap();
}

#[tokio::test]
async fn links_and_foreign_contents_are_left_alone() {
    let place = Place::new().await;
    std::fs::write(place.file("precious"), "kept").unwrap();
    symlink(place.file("precious"), place.file("pid")).unwrap();
    for args in [&["--background"][..], &["status"], &["stop"]] {
        let ran = place.run(args).await;
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        ran.stderr_has("it is a symbolic link");
    }
    std::fs::remove_file(place.file("pid")).unwrap();
    std::fs::rename(place.file("precious"), place.file("pid")).unwrap();
    let ran = place.run(&["--background"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has("the file is not a worker's pid file");
    assert_eq!(std::fs::read_to_string(place.file("pid")).unwrap(), "kept");
}

#[tokio::test]
async fn pipe_in_place_of_the_file_holds_nothing_up() {
    let place = Place::new().await;
    assert!(Command::new("mkfifo").arg(place.file("pid")).status().unwrap().success());
    let (since, mut all) = (Instant::now(), Vec::new());
    for args in [&["--background"][..], &["status"], &["stop"]] {
        all.push(place.run(args).await);
    }
    // Otherwise the place would wait when it reads the file's process.
    std::fs::remove_file(place.file("pid")).unwrap();
    for ran in all {
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.stderr_has("it is not a plain file");
    }
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[tokio::test]
async fn world_writable_folder_is_refused_unless_sticky() {
    let place = Place::new().await;
    set_mode(place.folder.path(), 0o777);
    for args in [&["--background"][..], &["status"], &["stop"]] {
        let ran = place.run(args).await;
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        ran.stderr_has("all users can replace files in its folder");
        ran.stderr_has("in a folder of your own");
    }
    assert!(!place.file("pid").exists());
    set_mode(place.folder.path(), 0o1777);
    place.start().await;
    let found = place.file("pid").metadata().unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(place.run(&["stop"]).await.code, 0);
    // The log goes into no link there.
    std::fs::remove_file(place.file("log")).unwrap();
    std::fs::write(place.file("precious"), "kept").unwrap();
    symlink(place.file("precious"), place.file("log")).unwrap();
    let log = place.file("log").into_os_string().into_string().unwrap();
    let ran = place.run(&["--background", "--log-file", &log]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.stderr_has("it is a symbolic link");
    assert_eq!(std::fs::read_to_string(place.file("precious")).unwrap(), "kept");
}
