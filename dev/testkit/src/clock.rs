//! A clock that a test sets for a Redis server, by a library that the C compiler makes of `clock.c`
//! (it is there wherever Rust links). For Linux.

use std::ffi::c_long;
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;

use redcall_store::embedded::find_server;

/// A server program whose clock a test sets.
#[derive(Debug)]
pub(crate) struct Clock {
    folder: tempfile::TempDir,
    ahead: File,
}

impl Clock {
    /// Creates the program; its clock begins with the machine's time.
    ///
    /// # Panics
    /// When there is no server or no C compiler.
    pub(crate) fn create() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("clock.c"), include_str!("clock.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(at("clock.so")).arg(at("clock.c"));
        assert!(compiler.status().expect("a C compiler, cc").success());
        std::fs::write(at("ahead"), c_long::to_ne_bytes(0)).unwrap();
        let server = find_server().expect("a Redis server").path;
        let script = format!(
            "#!/bin/sh\nLD_PRELOAD='{}' CLOCK_FILE='{}' exec '{}' \"$@\"\n",
            at("clock.so").display(),
            at("ahead").display(),
            server.display()
        );
        std::fs::write(at("server"), script).unwrap();
        std::fs::set_permissions(at("server"), Permissions::from_mode(0o755)).unwrap();
        let ahead = OpenOptions::new().write(true).open(at("ahead")).unwrap();
        Self { folder, ahead }
    }

    /// The program to start.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// Sets its clock this many seconds ahead of the machine's.
    pub(crate) fn set(&self, seconds: c_long) {
        self.ahead.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}
