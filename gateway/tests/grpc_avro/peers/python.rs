//! The Python interpreter with the packages of `requirements.txt`.

use std::path::{Path, PathBuf};

/// Returns the interpreter that `cargo xtask test` has prepared, else one that an earlier run has
/// left below the target directory; `None` without both, and then the test proves nothing.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("REDCALL_PYTHON_GRPC_AVRO").map(PathBuf::from);
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../venv-grpc_avro/bin/python");
    let found = named.or_else(|| made.exists().then_some(made));
    if found.is_none() {
        eprintln!("skipped: there is no Python with grpcio and fastavro");
    }
    found
}
