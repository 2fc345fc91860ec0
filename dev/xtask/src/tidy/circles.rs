//! No files of a crate import each other in a circle. Reason: a circle of files is one large file
//! that is hard to find one's way in, and none of its parts can be read, moved or tested alone.

use std::collections::BTreeMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::files::SourceFile;
use super::finding::Finding;
use super::imports::{Crate, Module, graph};

/// The folders with the root of a crate.
const CRATES: &[&str] = &[
    "cli/src",
    "client/src",
    "common/src",
    "dev/bench/src",
    "dev/chaos/src",
    "dev/model/src",
    "dev/testkit/src",
    "dev/xtask/src",
    "example/src",
    "store/src",
    "worker/src",
];

/// Circles that are allowed, by a file of each, with the reason.
const ALLOWED: &[(&str, &str)] = &[];

/// Checks all crates whose files are among `files`.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    CRATES.iter().flat_map(|folder| circles(&Crate::of(folder, files))).collect()
}

fn circles(crate_: &Crate<'_>) -> Vec<Finding> {
    let imports = graph(crate_);
    let mut net = DiGraph::<&Module, ()>::new();
    let nodes: BTreeMap<&Module, _> =
        imports.keys().map(|module| (module, net.add_node(module))).collect();
    for (from, all) in &imports {
        for to in all {
            net.add_edge(nodes[from], nodes[to], ());
        }
    }
    let circles = tarjan_scc(&net).into_iter().filter(|circle| circle.len() > 1);
    let found = circles.filter_map(|circle| {
        let mut paths: Vec<&str> =
            circle.iter().map(|node| crate_.files[net[*node]].path.as_str()).collect();
        paths.sort_unstable();
        let is_allowed = ALLOWED.iter().any(|(path, _)| paths.contains(path));
        (!is_allowed).then(|| Finding {
            path: paths[0].to_owned(),
            line: 1,
            what: format!(
                "{} files import each other in a circle: {}",
                paths.len(),
                paths.join(", ")
            ),
            fix: "move what both need into a file below them",
        })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let file =
            |(path, text): &(&str, &str)| SourceFile::new(format!("client/src/{path}"), *text);
        let files: Vec<_> = files.iter().map(file).collect();
        check(&files).iter().map(|finding| finding.what.clone()).collect()
    }

    #[test]
    fn arrows_in_one_direction_pass() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "pub struct A;"),
            ("b/mod.rs", "mod c; use crate::a::A; pub use c::C; pub struct B(A, C);"),
            ("b/c.rs", "pub struct C;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn circle_by_use_path_or_parent_is_found() {
        for text in ["use crate::b::B;", "fn f(_: crate::b::B) {}", "use super::b::B;"] {
            let files = [("lib.rs", "mod a; mod b;"), ("a.rs", text), ("b.rs", "use crate::a::A;")];
            let found = found(&files);
            assert!(found[0].contains("client/src/a.rs, client/src/b.rs"), "{text}: {found:?}");
        }
        let child = [("a.rs", "mod c; use c::C; pub struct A;"), ("a/c.rs", "use super::A;")];
        assert!(found(&child)[0].starts_with("2 files"));
    }

    #[test]
    fn tests_may_import_anything() {
        let test = "#[cfg(test)] mod tests { use crate::b::B; }";
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", test), ("b.rs", "use crate::a::A;")];
        assert_eq!(found(&files), [""; 0]);
    }
}
