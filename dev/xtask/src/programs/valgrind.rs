//! Valgrind: the machine's own, or the distribution's package unpacked into the user's cache.

use std::path::PathBuf;

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use redcall_store::embedded::cache_dir;

use crate::programs::apt;
use crate::programs::draft::{Draft, write_program};
use crate::workspace::runs;

const PROGRAM: &str = "valgrind";

/// Starts the unpacked program with the tools that were unpacked with it.
const WRAPPER: &str = include_str!("valgrind/wrapper.sh");

/// Finds it, or unpacks it and prints a line.
///
/// # Errors
/// If there is none; the message names the remedy.
pub(crate) fn ensure() -> miette::Result<PathBuf> {
    if runs(PROGRAM, "--version") {
        return Ok(PROGRAM.into());
    }
    let none = || {
        miette!(
            help = "install it (Debian: apt install valgrind)",
            "valgrind is not installed, but counts the instructions"
        )
    };
    let cache = cache_dir().ok_or_else(none)?;
    let folder = cache.join(PROGRAM);
    let wrapper = folder.join(PROGRAM);
    if works(&wrapper) {
        return Ok(wrapper);
    }
    if !apt::is_here() {
        return Err(none());
    }
    eprintln!("No valgrind found: unpacking this system's own package into {} …", cache.display());
    let draft = Draft::create(&cache)?;
    apt::unpack(&draft.path, &apt::VALGRIND).wrap_err_with(none)?;
    let program = draft.path.join(PROGRAM);
    write_program(&program, WRAPPER).into_diagnostic()?;
    if !works(&program) {
        return Err(none()).wrap_err("the unpacked valgrind does not run here");
    }
    draft.finish(&folder, PROGRAM)
}

fn works(program: &std::path::Path) -> bool {
    program.to_str().is_some_and(|program| runs(program, "--version"))
}
