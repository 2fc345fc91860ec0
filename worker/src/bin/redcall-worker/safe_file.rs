//! Safe opening of files in folders that others can write to: follows no links, does not block,
//! refuses files of other users.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::process::geteuid;

const STICKY: u32 = 0o1000;
const ALL_WRITE: u32 = 0o002;
const OTHERS_WRITE: u32 = 0o022;

/// Write access to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// Only its owner and group can add files.
    Own,
    /// All users can add files, but not remove those of others, as in /tmp.
    Shared,
}

/// Returns the write access to the folder of `path`.
fn folder(path: &Path) -> io::Result<Folder> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let mode = std::fs::metadata(parent)?.mode();
    match (mode & ALL_WRITE != 0, mode & STICKY != 0) {
        (false, _) => Ok(Folder::Own),
        (true, true) => Ok(Folder::Shared),
        (true, false) => {
            let folder = parent.display();
            Err(refused(format!("all users can replace files in its folder, {folder}")))
        }
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Returns options that follow no link at the end of a path, and do not block.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

/// Opens the pid file to write it. Creates it with access for its owner alone.
///
/// # Errors
///
/// If it cannot be opened, or is not a plain file that only this user can write.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    folder(path)?;
    loop {
        let file = match options().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut options = options();
                match options.read(true).write(true).create_new(true).mode(0o600).open(path) {
                    // Another process has created it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                    made => made,
                }
            }
            opened => opened,
        };
        let file = file.map_err(explained)?;
        let found = file.metadata()?;
        check(&found, geteuid().as_raw())?;
        if found.mode() & 0o777 != 0o600 {
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        }
        return Ok(file);
    }
}

/// Opens the pid file to read it, and returns its owner. Root may read files of other users.
///
/// # Errors
///
/// As [`open_own`].
pub(crate) fn open_to_read(path: &Path) -> io::Result<(File, u32)> {
    folder(path)?;
    let file = options().read(true).open(path).map_err(explained)?;
    let (found, user) = (file.metadata()?, geteuid().as_raw());
    let owner = found.uid();
    check(&found, if user == 0 { owner } else { user })?;
    Ok((file, owner))
}

/// Opens a log file to append to it. In a folder that all users can write to, refuses links and
/// files of other users; elsewhere a log may be any file.
///
/// # Errors
///
/// If it cannot be opened, or is refused.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    if folder(path)? == Folder::Own {
        return OpenOptions::new().create(true).append(true).open(path);
    }
    let file = options().create(true).append(true).open(path).map_err(explained)?;
    check(&file.metadata()?, geteuid().as_raw())?;
    Ok(file)
}

/// Refuses a file that is not a plain file of `user`, has a second name, or can be written by
/// others.
fn check(found: &Metadata, user: u32) -> io::Result<()> {
    if !found.is_file() {
        return Err(refused("it is not a plain file".to_owned()));
    }
    let owner = found.uid();
    if owner != user {
        return Err(refused(format!("it belongs to the user {owner}, and this is {user}")));
    }
    if found.nlink() > 1 {
        return Err(refused("it has a second name (a hard link)".to_owned()));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return Err(refused("users other than its owner can write it".to_owned()));
    }
    Ok(())
}

/// Replaces the system's error for a link, "too many levels of links".
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            refused("it is a symbolic link, and links are not followed".to_owned())
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn own_file_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        assert_eq!(open_own(&path).unwrap().metadata().unwrap().mode() & 0o7777, 0o600);
        // A file that an earlier version has made.
        set_mode(&path, 0o644);
        assert_eq!(open_own(&path).unwrap().metadata().unwrap().mode() & 0o7777, 0o600);
        open_to_read(&path).unwrap();
        set_mode(&path, 0o666);
        for refused in [open_own(&path).err(), open_to_read(&path).err()] {
            assert!(refused.unwrap().to_string().contains("can write it"));
        }
    }

    #[test]
    fn links_pipes_and_second_names_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("precious"), "kept").unwrap();
        symlink(at("precious"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        std::fs::write(at("twice"), "kept").unwrap();
        std::fs::hard_link(at("twice"), at("again")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        std::fs::create_dir(at("folder")).unwrap();
        for (name, why) in [
            ("link", "it is a symbolic link"),
            ("dangling", "it is a symbolic link"),
            ("again", "a second name"),
            ("pipe", "not a plain file"),
        ] {
            for refused in [open_own(&at(name)).err(), open_to_read(&at(name)).err()] {
                let refused = refused.unwrap().to_string();
                assert!(refused.contains(why), "{name}: {refused}");
            }
        }
        assert!(open_own(&at("folder")).is_err() && open_to_read(&at("folder")).is_err());
        assert!(!at("nowhere").exists());
        // A log may be a link in a folder of the user, but not where all users can create links.
        open_log(&at("link")).unwrap();
        set_mode(folder.path(), 0o1777);
        for name in ["link", "dangling", "pipe"] {
            assert!(open_log(&at(name)).is_err(), "{name}");
        }
        open_log(&at("log")).unwrap();
        open_own(&at("pid")).unwrap();
        set_mode(folder.path(), 0o777);
        for refused in [open_own(&at("pid")).err(), open_log(&at("log")).err()] {
            assert!(refused.unwrap().to_string().contains("replace files"));
        }
    }
}
