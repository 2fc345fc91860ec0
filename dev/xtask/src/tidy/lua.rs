//! The header of every Lua script. Reason: a script's keys and arguments are numbers, and its
//! result codes are read in another language; a call can be checked only with the header.

use super::files::SourceFile;
use super::finding::Finding;

/// The parts of the header, in this order.
const PARTS: &[&str] = &["Purpose", "KEYS", "ARGV", "Returns", "Derived keys", "Cost"];

/// Checks one file; others than scripts have nothing to be found.
pub(super) fn check(file: &SourceFile) -> Option<Finding> {
    if !file.has_extension("lua") {
        return None;
    }
    let header = file.lines().map_while(|(number, line)| Some((number, line.strip_prefix("--")?)));
    let mut missing = PARTS.iter().peekable();
    let mut last = 1;
    for (number, line) in header {
        last = number;
        let begins = |part: &str| {
            line.trim_start().strip_prefix(part).is_some_and(|rest| rest.starts_with(':'))
        };
        if missing.peek().is_some_and(|part| begins(part)) {
            missing.next();
        }
    }
    let part = missing.next()?;
    Some(Finding {
        path: file.path.clone(),
        line: last,
        what: format!("the header has no `{part}:`, or not in its place"),
        fix: "begin with -- Purpose:, KEYS:, ARGV:, Returns:, Derived keys:, Cost:",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "-- Purpose: push.\n--   On two lines.\n-- KEYS: 1 list\n-- ARGV: 1 text\n\
        -- Returns: 1\n-- Derived keys: none.\n-- Cost: O(1).\nreturn 1\n";

    fn found(path: &str, text: &str) -> Option<String> {
        let file = SourceFile::new(path, text);
        check(&file).map(|finding| finding.to_string())
    }

    #[test]
    fn a_whole_header_passes_and_other_files_need_none() {
        assert_eq!(found("a.lua", GOOD), None);
        assert_eq!(found("a.rs", "fn main() {}"), None);
    }

    #[test]
    fn missing_or_misplaced_header_part_is_found() {
        for (text, part) in [
            (GOOD.replace("-- ARGV: 1 text\n", ""), "ARGV"),
            (GOOD.replace("KEYS", "X").replace("ARGV", "KEYS").replace("X", "ARGV"), "ARGV"),
            (GOOD.replace("return 1\n", "").replace("-- Cost", "return 1\n-- Cost"), "Cost"),
            (String::new(), "Purpose"),
        ] {
            let finding = found("a.lua", &text).unwrap();
            assert!(finding.contains(&format!("no `{part}:`")), "{text}\n{finding}");
        }
    }
}
