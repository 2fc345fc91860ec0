//! [`Place`]: the programs of a run, and files of the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic as _, WrapErr as _, miette};
use serde_json::Value;

/// Programs, and the folder of the workspace.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    /// Interpreters by the variables of the gateway's tests.
    pub(crate) pythons: BTreeMap<String, PathBuf>,
    pub(crate) gateway: PathBuf,
    pub(crate) worker: PathBuf,
}

impl Place {
    /// The interpreter with the packages of `gateway/tests/<folder>`.
    pub(crate) fn python(&self, folder: &str) -> miette::Result<&Path> {
        let variable = format!("REDCALL_PYTHON_{}", folder.to_uppercase());
        let python = self.pythons.get(&variable);
        python.map(PathBuf::as_path).ok_or_else(|| {
            miette!(
                help = "install the Python that its first line names",
                "no interpreter for gateway/tests/{folder}/requirements.txt was found"
            )
        })
    }

    /// A file of this run's Python programs.
    pub(crate) fn script(&self, name: &str) -> PathBuf {
        self.root.join("dev/xtask/src/long/doors/python").join(name)
    }

    /// A folder or file below `gateway/tests/`.
    pub(crate) fn tests(&self, path: &str) -> PathBuf {
        self.root.join("gateway/tests").join(path)
    }

    /// The hostile inputs of a protocol's vectors: the bytes in this member of each.
    pub(crate) fn hostile(&self, folder: &str, member: &str) -> miette::Result<Vec<Vec<u8>>> {
        let path = self.tests("vectors").join(folder).join("refuse.json");
        let text = std::fs::read_to_string(&path).into_diagnostic();
        let text = text.wrap_err_with(|| path.display().to_string())?;
        let inputs: Vec<Value> = serde_json::from_str(&text).into_diagnostic()?;
        let bytes = |input: &Value| input[member].as_str().and_then(unhex);
        let inputs: Option<Vec<Vec<u8>>> = inputs.iter().map(bytes).collect();
        inputs.ok_or_else(|| miette!("{}: an input without `{member}`", path.display()))
    }
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}
