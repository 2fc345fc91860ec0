//! The operations, by the programs that use them: one file each, with the typed call of its script.

pub(crate) mod admin;
#[doc(hidden)]
pub mod benching;
pub(crate) mod client;
pub(crate) mod deferred;
pub(crate) mod delegate;
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod reply;
pub(crate) mod shared;
pub(crate) mod worker;

use crate::script::Script;

pub use admin::*;
pub use client::answers::*;
pub use client::events::*;
pub use client::lease::{LeaseChange, LeaseOps};
pub use client::send::*;
pub use deferred::{Covered, DeferredRecord, DeferredRun, EndedDeferred};
pub use shared::*;
pub use worker::polls::*;
pub use worker::run::*;
pub use worker::upkeep::*;

/// Returns every script.
pub(crate) fn scripts() -> Vec<&'static Script> {
    let groups = [
        shared::scripts(),
        client::send::scripts(),
        client::answers::scripts(),
        client::events::scripts(),
        client::lease::scripts(),
        worker::polls::scripts(),
        worker::run::scripts(),
        worker::upkeep::scripts(),
        admin::scripts(),
    ];
    groups.concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// All files below a folder of `lua/`.
    fn files(folder: &str) -> Vec<PathBuf> {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lua").join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    #[test]
    fn each_lua_file_is_a_script_or_a_part_of_one() {
        let files_of_scripts = files("scripts");
        let named: BTreeSet<&str> = files_of_scripts
            .iter()
            .map(|path| path.file_stem().unwrap().to_str().unwrap())
            .collect();
        let all: BTreeSet<&str> = scripts().iter().map(|script| script.name()).collect();
        assert_eq!(named, all);
        for part in files("parts") {
            let text = std::fs::read_to_string(&part).unwrap();
            let text = text.replace("<8,200 blanks>", &" ".repeat(8200));
            assert!(scripts().iter().any(|script| script.text().contains(&text)), "{part:?}");
        }
    }
}
