//! GUARANTEES.md names tests: each of them is there.

use std::path::Path;

#[test]
fn every_test_that_the_guarantees_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("../GUARANTEES.md")).unwrap();
    // In backticks, with its modules: `life::cancels::name`.
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.contains("::"));
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing = named.into_iter().filter(|name| {
        let (modules, function) = name.rsplit_once("::").unwrap();
        let file = root.join("tests/suite").join(modules.replace("::", "/")).with_extension("rs");
        let source = std::fs::read_to_string(file).unwrap_or_default();
        !source.contains(&format!("fn {function}()"))
    });
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}
