//! Finds the program of a command in the mapping.
//!
//! Workers run it; `redcall doctor` checks that it exists.

use std::path::{Path, PathBuf};

/// Finds `name` like a shell: with a slash relative to `dir`, else on `PATH`.
///
/// # Errors
///
/// The fix, if there is no such program.
pub fn find(name: &str, dir: &Path) -> Result<PathBuf, String> {
    if name.contains('/') {
        let path = dir.join(name);
        return if is_executable(&path) {
            Ok(path)
        } else {
            Err(format!("`{}` is not an executable file", path.display()))
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| is_executable(p));
    found.ok_or_else(|| format!("the program `{name}` is not on PATH; install it or give its path"))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
