//! No two public types of the shipped crates share a name. Reason: about fifty names stood for
//! several types, and a reader who met one in a signature had to look up which.

use std::collections::BTreeMap;

use super::files::SourceFile;
use super::finding::Finding;

/// Where the types of shipped crates are.
const FOLDERS: &[&str] = &["client/src/", "common/src/", "store/src/", "worker/src/"];

/// Checks the types that are `pub` where they are defined.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut seen: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    let mut findings = Vec::new();
    let shipped = files.iter().filter(|file| {
        file.has_extension("rs") && FOLDERS.iter().any(|folder| file.path.starts_with(folder))
    });
    for file in shipped {
        let Ok(syntax) = syn::parse_file(&file.text) else { continue };
        for (name, line) in syntax.items.iter().filter_map(public_type) {
            if let Some((path, first)) = seen.get(&name) {
                findings.push(Finding {
                    path: file.path.clone(),
                    line,
                    what: format!("the public type `{name}` is defined in {path}:{first}, too"),
                    fix: "give each its own name",
                });
            } else {
                seen.insert(name, (&file.path, line));
            }
        }
    }
    findings
}

fn public_type(item: &syn::Item) -> Option<(String, usize)> {
    let (visibility, name) = match item {
        syn::Item::Struct(item) => (&item.vis, &item.ident),
        syn::Item::Enum(item) => (&item.vis, &item.ident),
        syn::Item::Trait(item) => (&item.vis, &item.ident),
        syn::Item::Type(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    matches!(visibility, syn::Visibility::Public(_))
        .then(|| (name.to_string(), name.span().start().line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| SourceFile::new(*path, *text)).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn same_name_in_two_shipped_files_is_found() {
        let found = found(&[
            ("client/src/a.rs", "pub struct Task;"),
            ("worker/src/b.rs", "\npub enum Task {}"),
        ]);
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert!(one.starts_with("worker/src/b.rs:2: the public type `Task` is defined in client"));
    }

    #[test]
    fn private_types_and_other_crates_may_share_names() {
        let files = [
            ("client/src/a.rs", "pub struct Task; struct Other;"),
            ("worker/src/b.rs", "pub(crate) struct Task; pub struct Other;"),
            ("dev/chaos/src/c.rs", "pub struct Task;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
