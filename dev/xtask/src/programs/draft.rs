//! A copy of a foreign program in the user's cache, put together aside and then moved to its name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _};

/// The folder in which a copy is assembled. Dropping it removes files that were not moved to their
/// name.
pub(crate) struct Draft {
    pub(crate) path: PathBuf,
}

impl Draft {
    pub(crate) fn create(cache: &Path) -> miette::Result<Self> {
        let path = cache.join(format!("draft-{}", std::process::id()));
        let make = || {
            // Left by a process that was killed and had the same id.
            _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path)
        };
        make().into_diagnostic().wrap_err_with(|| path.display().to_string())?;
        Ok(Self { path })
    }

    /// Moves it to `folder`, and returns the path of its `program`.
    pub(crate) fn finish(self, folder: &Path, program: &str) -> miette::Result<PathBuf> {
        // Another xtask may have been quicker; then its copy is as good as ours.
        if let Err(error) = fs::rename(&self.path, folder)
            && !folder.join(program).exists()
        {
            return Err(error).into_diagnostic().wrap_err_with(|| folder.display().to_string());
        }
        Ok(folder.join(program))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a script that can be run.
pub(crate) fn write_program(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
