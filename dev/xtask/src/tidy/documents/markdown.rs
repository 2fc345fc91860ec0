//! The parts of a Markdown text that the rules read: links, anchors, code spans, code blocks.

/// The lines outside of code blocks with their numbers, from 1.
fn unfenced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The texts of code spans with their lines. A span that ends in another line is left out.
pub(super) fn code_spans(text: &str) -> impl Iterator<Item = (usize, &str)> {
    unfenced(text).flat_map(|(number, line)| {
        let closed = line.matches('`').count() / 2;
        line.split('`').skip(1).step_by(2).take(closed).map(move |code| (number, code))
    })
}

/// The line with the text of each code span replaced by spaces.
fn without_code(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    // A span that goes on in the next line has no second backtick here.
    let closed = parts.len() - usize::from(parts.len().is_multiple_of(2));
    let blank = |(index, part): (usize, &&str)| {
        let is_code = index % 2 == 1 && index < closed;
        if is_code { " ".repeat(part.chars().count()) } else { (*part).to_owned() }
    };
    parts.iter().enumerate().map(blank).collect::<Vec<_>>().join("`")
}

/// The targets of inline links with their lines. `](target)` is in one line.
pub(super) fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in unfenced(text) {
        let line = without_code(line);
        for (at, opening) in line.match_indices("](") {
            let rest = &line[at + opening.len()..];
            if let Some((target, _)) = rest.split_once(')') {
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// The anchors of the headings, as GitHub makes them: a repeated heading gets a number.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut headings: Vec<String> = Vec::new();
    let mut anchors = Vec::new();
    for (_, line) in unfenced(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor(heading.trim());
        let earlier = headings.iter().filter(|other| **other == anchor).count();
        anchors.push(if earlier == 0 { anchor.clone() } else { format!("{anchor}-{earlier}") });
        headings.push(anchor);
    }
    anchors
}

/// Letters, digits, hyphens and underscores in lower case; spaces become hyphens.
fn anchor(heading: &str) -> String {
    let kept =
        |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The code blocks of a language: the number of the line after the fence, and the lines.
pub(super) fn blocks<'a>(text: &'a str, language: &str) -> Vec<(usize, Vec<&'a str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (index, line) in text.lines().enumerate() {
        let fence = line.trim().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(name)) if name == language => open = Some((index + 2, Vec::new())),
            (None, _) => {}
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, lines)), None) => lines.push(line),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_skipped() {
        let text = "[a](b.md) and `[c](d.md)`, [e\nf](g.md#h)\n```\n[i](j.md)\n```\n[k](l.md)";
        let links = links(text);
        let links: Vec<_> = links.iter().map(|(line, target)| (*line, target.as_str())).collect();
        assert_eq!(links, [(1, "b.md"), (2, "g.md#h"), (6, "l.md")]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        let text =
            "# 7. `redcall doctor`, in short\n## Keys\n```\n# no heading\n```\n## Keys\n#not";
        assert_eq!(anchors(text), ["7-redcall-doctor-in-short", "keys", "keys-1"]);
    }

    #[test]
    fn blocks_of_a_language_have_their_lines() {
        let text = "```mermaid\nflowchart LR\n```\n```rust\nx\n```\n";
        assert_eq!(blocks(text, "mermaid"), [(2, vec!["flowchart LR"])]);
    }
}
