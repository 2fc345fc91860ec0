//! The private folder of one server, and the removal of folders whose owner has died.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::EmbeddedError;

/// How the names of our folders begin.
const PREFIX: &str = "redcall-";

/// Where folders go when the temporary folder's own path is too long for a socket.
const SHORT: &str = "/tmp";

/// The file by which a folder's owner shows that it lives: it holds a lock on it, and its process
/// id stands in it for people to read. A lock and not the id decides, because ids are used again,
/// and mean nothing to a process in another container that shares the folder.
const OWNER: &str = "owner";

/// `sun_path` has 104 bytes on macOS and 108 on Linux, the closing zero included.
const SOCKET_PATH_LIMIT: usize = 104;

/// A folder that only this user can enter. Dropping removes it with all that is in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked for our lifetime; the system lets go of it however we end.
    _owner: File,
}

impl Folder {
    pub(super) fn create() -> Result<Self, EmbeddedError> {
        let name = format!("{PREFIX}{}", short_unique());
        let mut path = std::env::temp_dir().join(&name);
        if !fits(&socket_in(&path)) {
            path = Path::new(SHORT).join(&name);
        }
        // Holds for every program that is to connect later, in whatever directory it runs.
        path = std::path::absolute(&path).unwrap_or(path);
        if !fits(&socket_in(&path)) {
            return Err(EmbeddedError::PathTooLong { path: socket_in(&path) });
        }
        let make = || {
            DirBuilder::new().mode(0o700).create(&path)?;
            lock_as_owner(&path)
        };
        match make() {
            Ok(owner) => Ok(Self { path, _owner: owner }),
            Err(source) => Err(EmbeddedError::Folder { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket_in(&self.path)
    }

    /// Where the shell notes the server's process id.
    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("server.pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("redis.log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later start.
        _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of owners that ended without doing so. Best effort: what belongs to another
/// user or cannot be removed stays.
pub(super) fn sweep() {
    let usual = std::env::temp_dir();
    sweep_in(&usual);
    if usual != Path::new(SHORT) {
        sweep_in(Path::new(SHORT));
    }
}

fn sweep_in(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let path = entry.path();
        // A folder without the file is one that is being made at this moment, or not ours.
        let Ok(owner) = File::open(path.join(OWNER)) else {
            continue;
        };
        if owner.try_lock().is_ok() {
            _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// The file gets its name only when it is locked: a sweep that finds it must find it taken.
fn lock_as_owner(folder: &Path) -> io::Result<File> {
    let unnamed = folder.join("owner.new");
    let mut owner = File::create_new(&unnamed)?;
    owner.try_lock().map_err(|error| match error {
        TryLockError::Error(source) => source,
        TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
    })?;
    writeln!(owner, "{}", std::process::id())?;
    std::fs::rename(&unnamed, folder.join(OWNER))?;
    Ok(owner)
}

/// Twelve characters. The path of a socket has little room, and a taken name is an error at once,
/// never a folder shared.
fn short_unique() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    // The last digits are the random ones; the first are the time.
    id[id.len() - 12..].to_owned()
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("r.sock")
}

fn fits(socket: &Path) -> bool {
    socket.as_os_str().len() < SOCKET_PATH_LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_what_nobody_holds_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (dead, alive, half_made, foreign) =
            (folder("redcall-d"), folder("redcall-a"), folder("redcall-h"), folder("other"));
        drop(lock_as_owner(&dead).unwrap());
        drop(lock_as_owner(&foreign).unwrap());
        let _alive = lock_as_owner(&alive).unwrap();

        sweep_in(parent.path());

        assert!(!dead.exists(), "its owner has let go");
        assert!(alive.exists(), "its owner holds the lock");
        assert!(half_made.exists(), "its owner may be about to take the lock");
        assert!(foreign.exists(), "its name is not ours");
    }

    #[test]
    fn the_limit_of_a_socket_path_counts_the_closing_zero() {
        assert!(fits(Path::new(&"x".repeat(103))));
        assert!(!fits(Path::new(&"x".repeat(104))));
    }

    #[test]
    fn a_folder_is_private_and_goes_with_its_guard() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }
}
