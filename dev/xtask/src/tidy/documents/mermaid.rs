//! Diagrams parse: GitHub shows a faulty one as an error in place of the picture.
//!
//! The parser knows the part of Mermaid that the documents use: flowcharts of one node, or of two
//! nodes with an arrow, per line.

use super::markdown;
use crate::tidy::files::SourceFile;
use crate::tidy::finding::Finding;

/// The brackets around a node's text, the longer ones first.
const SHAPES: &[(&str, &str)] = &[("[(", ")]"), ("[", "]"), ("(", ")"), ("{", "}")];

/// The arrow, with or without a text after it.
const ARROW: &str = "-->";

/// Characters that end a text unless it is in quotes.
const RESERVED: &[char] = &['[', ']', '(', ')', '{', '}', '|', '"', ':'];

/// A diagram: its nodes in the order in which they are first named, and its arrows.
#[derive(Debug, Default, PartialEq)]
struct Diagram<'a> {
    nodes: Vec<&'a str>,
    arrows: Vec<(&'a str, &'a str)>,
}

/// Checks every Mermaid block of every Markdown file.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        for (first, lines) in markdown::blocks(&file.text, "mermaid") {
            if let Err((index, what)) = parse(&lines) {
                let fix = "use the syntax of dev/xtask/src/tidy/documents/mermaid.rs";
                findings.push(Finding { path: file.path.clone(), line: first + index, what, fix });
            }
        }
    }
    findings
}

/// The diagram, or the index of a faulty line and its fault.
fn parse<'a>(lines: &[&'a str]) -> Result<Diagram<'a>, (usize, String)> {
    let head = lines.first().map_or("", |line| line.trim());
    let direction = head.strip_prefix("flowchart ").unwrap_or_default();
    if !["LR", "RL", "TD", "TB", "BT"].contains(&direction) {
        return Err((0, format!("`{head}` does not begin a flowchart")));
    }
    let mut diagram = Diagram::default();
    for (index, line) in lines.iter().enumerate().skip(1) {
        let line = line.trim();
        if !line.is_empty() {
            statement(line, &mut diagram)
                .ok_or_else(|| (index, format!("`{line}` is neither a node nor an arrow")))?;
        }
    }
    let joined = |node: &&str| diagram.arrows.iter().any(|(from, to)| from == node || to == node);
    match diagram.nodes.iter().find(|node| !joined(node)) {
        Some(node) => Err((0, format!("the node `{node}` has no arrow"))),
        None if diagram.arrows.is_empty() => Err((0, "the diagram has no arrow".to_owned())),
        None => Ok(diagram),
    }
}

/// Reads a line: `node` or `node --> node`, the arrow with or without `|text|`.
fn statement<'a>(line: &'a str, diagram: &mut Diagram<'a>) -> Option<()> {
    let (from, rest) = node(line)?;
    let mut named = vec![from];
    if !rest.is_empty() {
        let rest = rest.strip_prefix(ARROW)?;
        let rest = match rest.strip_prefix('|') {
            Some(rest) => {
                let (label, rest) = rest.split_once('|')?;
                is_text(label).then_some(rest)?
            }
            None => rest,
        };
        let (to, rest) = node(rest.trim_start())?;
        rest.is_empty().then_some(())?;
        diagram.arrows.push((from, to));
        named.push(to);
    }
    for node in named {
        if !diagram.nodes.contains(&node) {
            diagram.nodes.push(node);
        }
    }
    Some(())
}

/// A node at the head of `line`: its id, and the rest of the line.
fn node(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|of: char| !(of.is_alphanumeric() || of == '_')).unwrap_or(line.len());
    let (id, rest) = line.split_at(end);
    // `end` closes a subgraph.
    if id.is_empty() || id == "end" {
        return None;
    }
    let shape = SHAPES.iter().find_map(|(open, close)| Some((rest.strip_prefix(open)?, close)));
    let rest = match shape {
        Some((rest, close)) => {
            let (text, rest) = rest.split_once(close)?;
            is_text(text).then_some(rest)?
        }
        None => rest,
    };
    Some((id, rest.trim_start()))
}

/// Returns `true` if Mermaid reads `text` as a text: in quotes, or without reserved characters.
fn is_text(text: &str) -> bool {
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match quoted {
        Some(inner) => !inner.is_empty() && !inner.contains('"'),
        None => !text.trim().is_empty() && !text.contains(RESERVED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::files;
    use crate::workspace::Workspace;

    #[test]
    fn flow_of_the_readme_is_a_round_trip() {
        let files = files::read_all(Workspace::find().unwrap().root()).unwrap();
        let readme = files.iter().find(|file| file.path == "README.md").unwrap();
        let blocks = markdown::blocks(&readme.text, "mermaid");
        let [(_, lines)] = blocks.as_slice() else { panic!("{} diagrams", blocks.len()) };
        let diagram = parse(lines).unwrap();
        assert_eq!(diagram.nodes, ["client", "queue", "worker", "handler", "response"]);
        let arrows = [
            ("client", "queue"),
            ("queue", "worker"),
            ("worker", "handler"),
            ("handler", "worker"),
            ("worker", "response"),
            ("response", "client"),
        ];
        assert_eq!(diagram.arrows, arrows);
    }

    #[test]
    fn nodes_and_arrows_are_read() {
        let lines = ["flowchart TD", "  a[one] -->|\"x, (y)\"| b[(\"two: it\")]", "  b --> c", ""];
        let diagram = parse(&lines).unwrap();
        assert_eq!(diagram.nodes, ["a", "b", "c"]);
        assert_eq!(diagram.arrows, [("a", "b"), ("b", "c")]);
    }

    #[test]
    fn faults_are_named_with_their_line() {
        for (lines, line) in [
            (&["graph LR", "a --> b"][..], 0),
            (&["flowchart LR"], 0),
            (&["flowchart LR", "a --> b", "c[alone]"], 0),
            (&["flowchart LR", "a --> b", "a -> b"], 2),
            (&["flowchart LR", "a[x --> b"], 1),
            (&["flowchart LR", "a -->|x: y| b"], 1),
            (&["flowchart LR", "a --> end"], 1),
            (&["flowchart LR", "a --> b extra"], 1),
        ] {
            let (at, what) = parse(lines).unwrap_err();
            assert_eq!(at, line, "{lines:?}: {what}");
        }
    }
}
