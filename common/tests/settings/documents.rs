//! The settings that the documents show are settings that load.

use super::Place;
use std::path::{Path, PathBuf};

/// The root of the repository: the folder above that has the book.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("docs/book.toml").exists());
    root.unwrap().to_owned()
}

/// The TOML blocks of a document, without those of a manifest.
fn blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| !block.starts_with("[dependencies]")).collect()
}

#[test]
fn settings_of_the_documents_load() {
    let mut count = 0;
    for part in ["guide", "operate", "reference"] {
        for page in std::fs::read_dir(root().join("docs").join(part)).unwrap() {
            let page = page.unwrap().path();
            let text = std::fs::read_to_string(&page).unwrap();
            for block in blocks(&text) {
                let place = Place::with("redcall.toml", block);
                for secret in ["web.key", "bgpy.token"] {
                    place.write(secret, "0123456789abcdefghijklmnopqrstuv");
                }
                let loaded = place.load(None, &[]);
                assert!(loaded.is_ok(), "{}: {}\n{block}", page.display(), loaded.unwrap_err());
                count += 1;
            }
        }
    }
    assert!(count >= 8, "only {count} blocks were found");
}
