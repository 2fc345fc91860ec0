//! A Redis server for the demo and the tests: the machine's own, or the distribution's package
//! unpacked into the user's cache folder. Only xtask does that, never a library.

use std::fs;
use std::path::Path;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_store::embedded::{
    EmbeddedError, ServerProgram, Version, cache_dir, find_newer, find_server, probe,
};

use crate::programs::apt;
use crate::programs::draft::{Draft, write_program};

/// Names to the programs that we start which server to use.
pub(crate) const VARIABLE: &str = "REDCALL_REDIS_SERVER";

/// Names to the tests which server has `WAITAOF`.
pub(crate) const NEWER: &str = "REDCALL_NEWER_SERVER";

/// Starts the unpacked server with the libraries that were unpacked with it.
const WRAPPER: &str = include_str!("redis_server/wrapper.sh");

/// Finds a server, or unpacks one and prints a line.
///
/// # Errors
/// The clear list of fixes from [`EmbeddedError`]; with the cause when unpacking was tried.
pub(crate) fn ensure() -> miette::Result<ServerProgram> {
    let not_found = match find_server() {
        Ok(server) => return Ok(server),
        // A program that the user named is theirs to correct.
        Err(error @ EmbeddedError::Unusable { .. }) => return Err(miette!("{error}")),
        Err(error) => miette!("{error}"),
    };
    let Some(cache) = cache_dir() else { return Err(not_found) };
    if !apt::is_here() {
        return Err(not_found);
    }
    eprintln!(
        "No Redis server found: unpacking this system's own package into {} (no root needed, \
         nothing is installed) …",
        cache.display()
    );
    unpack(&cache, "redis", &apt::REDIS).wrap_err(not_found)
}

/// Returns a server that has `WAITAOF`: the installed one, or an unpacked Valkey.
///
/// # Errors
/// If there is neither; the message names the remedy.
pub(crate) fn ensure_newer() -> miette::Result<ServerProgram> {
    if let Some(server) = find_newer() {
        return Ok(server);
    }
    let none = || {
        miette!(
            help =
                "install Valkey, or Redis 7.2 or newer, and set {VARIABLE} to its server program",
            "the tests of `fsynced` need a server of version {} or newer",
            Version::KNOWS_WAITAOF
        )
    };
    let cache = cache_dir().ok_or_else(none)?;
    if !apt::is_here() {
        return Err(none());
    }
    eprintln!("Unpacking Valkey into {} for the tests of `fsynced` …", cache.display());
    unpack(&cache, "valkey", &apt::VALKEY).wrap_err_with(none)
}

/// Creates `<cache>/<name>-<version>/<name>-server`, where `find_server` searches for Redis.
fn unpack(cache: &Path, name: &str, server: &apt::Packages) -> miette::Result<ServerProgram> {
    let draft = Draft::create(cache)?;
    apt::unpack(&draft.path, server)?;
    let libraries = library_folders(&draft.path.join("unpacked"));
    // Relative, so that the folder can be moved to its name.
    let program = format!("{name}-server");
    let wrapper = draft.path.join(&program);
    let text = WRAPPER.replace("@LIBRARIES@", &libraries.join(" ")).replace("@PROGRAM@", &program);
    write_program(&wrapper, &text)
        .into_diagnostic()
        .wrap_err_with(|| wrapper.display().to_string())?;
    let server = probe(&wrapper)
        .map_err(|error| miette!("the unpacked server does not run here: {error}"))?;

    let folder = cache.join(format!("{name}-{}", server.version));
    Ok(ServerProgram { path: draft.finish(&folder, &program)?, ..server })
}

/// Folders below `root` (`…/unpacked`) that hold shared libraries, relative to the one above it.
fn library_folders(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for base in ["usr/lib", "lib"] {
        let folders = fs::read_dir(root.join(base)).into_iter().flatten().flatten();
        let below = folders.map(|entry| format!("{base}/{}", entry.file_name().display()));
        found.extend(below.chain([base.to_owned()]).filter(|path| has_libraries(&root.join(path))));
    }
    found.into_iter().map(|path| format!("unpacked/{path}")).collect()
}

fn has_libraries(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().contains(".so."))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn wrapper_finds_its_parts_from_any_folder() {
        let temp = tempfile::tempdir().unwrap();
        // A space: home folders have them, on macOS above all.
        let (made, moved) = (temp.path().join("a draft"), temp.path().join("its name"));
        let libraries = made.join("unpacked/usr/lib/x86_64-linux-gnu");
        fs::create_dir_all(&libraries).unwrap();
        fs::create_dir_all(made.join("unpacked/usr/bin")).unwrap();
        fs::write(libraries.join("libx.so.1"), "").unwrap();
        let server = made.join("unpacked/usr/bin/redis-server");
        write_program(&server, "#!/bin/sh\necho \"$LD_LIBRARY_PATH\" \"$@\"\n").unwrap();

        let folders = library_folders(&made.join("unpacked"));
        assert_eq!(folders, ["unpacked/usr/lib/x86_64-linux-gnu"]);
        let wrapper = WRAPPER.replace("@LIBRARIES@", &folders.join(" "));
        let wrapper = wrapper.replace("@PROGRAM@", "redis-server");
        write_program(&made.join("redis-server"), &wrapper).unwrap();
        fs::rename(&made, &moved).unwrap();

        // By a shell: a file that was just written may still be open in a child of another test.
        let mut command = Command::new("/bin/sh");
        command.arg(moved.join("redis-server")).args(["--save", ""]);
        let output = command.env("LD_LIBRARY_PATH", "/theirs").output().unwrap();
        let expected =
            format!("{}/unpacked/usr/lib/x86_64-linux-gnu:/theirs --save \n", moved.display());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}
