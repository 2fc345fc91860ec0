//! The prose of a file: Markdown text, comments, strings and names, each with its lines.
//!
//! Quotations in backticks, code blocks and generated parts of documents are not prose. They are
//! masked, so that offsets stay those of the file's text.

use crate::tidy::files::SourceFile;

/// The place of a passage in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Markdown,
    Comment,
    /// A string literal.
    Text,
    /// An identifier, split into its words.
    Name,
}

/// A connected piece of prose.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// Offsets in `text` at which lines of the file begin, with the lines' numbers.
    lines: Vec<(usize, usize)>,
}

impl Passage {
    fn new(kind: Kind) -> Self {
        Self { kind, text: String::new(), lines: Vec::new() }
    }

    fn push_line(&mut self, line: usize, text: &str) {
        if !self.lines.is_empty() {
            self.text.push('\n');
        }
        self.lines.push((self.text.len(), line));
        self.text.push_str(text);
    }

    /// Returns the number of the file's line at an offset of the text.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        let after = self.lines.partition_point(|(start, _)| *start <= offset);
        self.lines[after.saturating_sub(1)].1
    }

    /// Replaces quotations in backticks by a word of the same length.
    fn mask_quotations(mut self) -> Self {
        let mut masked = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(open) = rest.find('`') {
            let paragraph = rest[open..].find("\n\n").map_or(rest.len(), |end| open + end);
            let Some(length) = rest[open + 1..paragraph].find('`') else { break };
            let end = open + 1 + length + 1;
            masked.push_str(&rest[..open]);
            let mask = |byte: u8| if byte == b'\n' { '\n' } else { 'x' };
            masked.extend(rest[open..end].bytes().map(mask));
            rest = &rest[end..];
        }
        masked.push_str(rest);
        self.text = masked;
        self
    }
}

/// Ends of the paths of files in which `#` begins a comment.
const HASH_COMMENTS: &[&str] = &[
    ".toml",
    ".sh",
    ".yml",
    ".yaml",
    ".conf",
    ".dict",
    ".gitignore",
    ".dockerignore",
    "Dockerfile",
];

/// Returns `true` if a file without an extension is a script, such as `.ci/run`.
fn is_script(file: &SourceFile) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    !name.contains('.') && file.text.starts_with("#!")
}

/// Returns the passages of a file; none if its language is unknown.
pub(crate) fn passages(file: &SourceFile) -> Vec<Passage> {
    let is = |extension: &str| file.has_extension(extension);
    let found = if is("md") {
        vec![markdown(&file.text)]
    } else if is("rs") {
        Scanner::new(&file.text, Syntax::RUST).passages()
    } else if is("lua") {
        Scanner::new(&file.text, Syntax::LUA).passages()
    } else if is("py") {
        Scanner::new(&file.text, Syntax::PYTHON).passages()
    } else if is("js") || is("cjs") || is("mjs") {
        Scanner::new(&file.text, Syntax::JAVASCRIPT).passages()
    } else if is("c") || is("h") {
        Scanner::new(&file.text, Syntax::C).passages()
    } else if HASH_COMMENTS.iter().any(|end| file.path.ends_with(end)) || is_script(file) {
        hash_comments(&file.text)
    } else {
        Vec::new()
    };
    found.into_iter().map(Passage::mask_quotations).collect()
}

/// Returns the text of a document without its code blocks, generated parts and link targets.
fn markdown(text: &str) -> Passage {
    let mut passage = Passage::new(Kind::Markdown);
    let (mut fenced, mut generated) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        generated =
            (generated || start.starts_with("<!-- gen:")) && !start.starts_with("<!-- /gen");
        let fence = start.starts_with("```") || start.starts_with("~~~");
        let hidden = fenced || fence || generated;
        fenced ^= fence;
        let mut shown = String::new();
        let mut rest = if hidden { "" } else { line };
        while let Some((before, target)) = rest.split_once("](") {
            shown.push_str(before);
            shown.push(']');
            rest = target.split_once(')').map_or("", |(_, after)| after);
        }
        shown.push_str(rest);
        passage.push_line(index + 1, &shown);
    }
    passage
}

/// Returns the comments of a file in which `#` begins them.
fn hash_comments(text: &str) -> Vec<Passage> {
    let mut joined = Joined::default();
    for (index, line) in text.lines().enumerate() {
        let begins = |at: &usize| *at == 0 || line[..*at].ends_with(' ');
        let at = line.match_indices('#').map(|(at, _)| at).find(begins);
        if let Some(at) = at {
            joined.add(index + 1, line[at..].trim_start_matches(['#', '!']));
        }
    }
    joined.finish()
}

/// Joins comments of adjacent lines, as they are one text.
#[derive(Default)]
struct Joined {
    done: Vec<Passage>,
    open: Option<(usize, Passage)>,
    fenced: bool,
}

impl Joined {
    fn add(&mut self, line: usize, text: &str) {
        let mut passage = match self.open.take() {
            Some((last, passage)) if last + 1 == line => passage,
            other => {
                self.done.extend(other.map(|(_, complete)| complete));
                self.fenced = false;
                Passage::new(Kind::Comment)
            }
        };
        let fence = text.trim_start().starts_with("```");
        passage.push_line(line, if fence || self.fenced { "" } else { text.trim() });
        self.fenced ^= fence;
        self.open = Some((line, passage));
    }

    fn finish(mut self) -> Vec<Passage> {
        self.done.extend(self.open.map(|(_, passage)| passage));
        self.done
    }
}

/// The parts of a language that a scanner has to know.
#[derive(Clone, Copy)]
struct Syntax {
    line_comment: &'static str,
    block_comment: Option<(&'static str, &'static str)>,
    quotes: &'static [&'static str],
    /// `'` begins a character or a lifetime, `r"` a raw string.
    rust: bool,
}

impl Syntax {
    const RUST: Self =
        Self { line_comment: "//", block_comment: Some(("/*", "*/")), quotes: &["\""], rust: true };
    const LUA: Self =
        Self { line_comment: "--", block_comment: None, quotes: &["\"", "'"], rust: false };
    const C: Self = Self {
        line_comment: "//",
        block_comment: Some(("/*", "*/")),
        quotes: &["\"", "'"],
        rust: false,
    };
    const PYTHON: Self = Self {
        line_comment: "#",
        block_comment: None,
        quotes: &["\"\"\"", "'''", "\"", "'"],
        rust: false,
    };
    const JAVASCRIPT: Self = Self {
        line_comment: "//",
        block_comment: Some(("/*", "*/")),
        quotes: &["\"", "'", "`"],
        rust: false,
    };
}

/// Reads a program from front to back.
struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    syntax: Syntax,
    comments: Joined,
    others: Vec<Passage>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, syntax: Syntax) -> Self {
        Self { rest: text, line: 1, syntax, comments: Joined::default(), others: Vec::new() }
    }

    fn passages(mut self) -> Vec<Passage> {
        while let Some(first) = self.rest.chars().next() {
            if self.rest.starts_with(self.syntax.line_comment) {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                let line = self.line;
                let text = self.take(end);
                self.comments.add(line, text.trim_start_matches(['/', '!', '-', '#']));
            } else if let Some((open, close)) = self.block() {
                let line = self.line;
                let text = self.take_until(open.len(), close);
                for (index, text) in text.lines().enumerate() {
                    self.comments.add(line + index, text.trim().trim_matches(['/', '*', '!']));
                }
            } else if let Some((open, close)) = self.raw_string() {
                self.string(open, &close, false);
            } else if let Some(quote) = self.quote() {
                self.string(quote.len(), quote, true);
            } else if self.syntax.rust && first == '\'' {
                self.character();
            } else if first.is_alphanumeric() || first == '_' {
                let in_name = |c: char| c.is_alphanumeric() || c == '_';
                let end = self.rest.find(|c| !in_name(c)).unwrap_or(self.rest.len());
                let name = split_name(self.take(end));
                let mut passage = Passage::new(Kind::Name);
                passage.push_line(self.line, &name);
                self.others.push(passage);
            } else {
                self.take(first.len_utf8());
            }
        }
        let mut passages = self.comments.finish();
        passages.append(&mut self.others);
        passages
    }

    fn block(&self) -> Option<(&'static str, &'static str)> {
        self.syntax.block_comment.filter(|(open, _)| self.rest.starts_with(open))
    }

    fn quote(&self) -> Option<&'static str> {
        self.syntax.quotes.iter().copied().find(|quote| self.rest.starts_with(quote))
    }

    /// Returns the length of a raw string's opening and its closing, if one begins here.
    fn raw_string(&self) -> Option<(usize, String)> {
        if !self.syntax.rust {
            return None;
        }
        let start = ["r", "br", "cr"].into_iter().find(|start| {
            let after = self.rest.strip_prefix(start).unwrap_or_default();
            after.trim_start_matches('#').starts_with('"')
        })?;
        let hashes = self.rest[start.len()..].find('"')?;
        Some((start.len() + hashes + 1, format!("\"{}", "#".repeat(hashes))))
    }

    /// Skips a character literal, or the `'` of a lifetime.
    fn character(&mut self) {
        let mut inside = self.rest[1..].chars();
        let length = match (inside.next(), inside.next()) {
            (Some('\\'), Some(escaped)) => {
                let from = 2 + escaped.len_utf8();
                self.rest[from..].find('\'').map_or(1, |end| from + end + 1)
            }
            (Some(character), Some('\'')) => character.len_utf8() + 2,
            _ => 1,
        };
        self.take(length);
    }

    fn string(&mut self, open: usize, close: &str, escapes: bool) {
        let first = self.line;
        self.take(open);
        let mut end = 0;
        while end < self.rest.len() && !self.rest[end..].starts_with(close) {
            let next = self.rest[end..].chars().next().map_or(1, char::len_utf8);
            let escaped = escapes && self.rest[end..].starts_with('\\');
            let skipped = self.rest[end + next..].chars().next().filter(|_| escaped);
            end += next + skipped.map_or(0, char::len_utf8);
        }
        let text = self.take(end);
        self.take(close.len().min(self.rest.len()));
        let mut passage = Passage::new(Kind::Text);
        for (index, line) in text.lines().enumerate() {
            passage.push_line(first + index, &without_code(line));
        }
        if !passage.lines.is_empty() {
            self.others.push(passage);
        }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn take_until(&mut self, from: usize, close: &str) -> &'a str {
        let end = self.rest[from..].find(close).map(|at| from + at + close.len());
        self.take(end.unwrap_or(self.rest.len()))
    }
}

/// Replaces escapes and placeholders (`\n`, `{name}`) of a line of a string by blanks and words.
fn without_code(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
                shown.push(' ');
            }
            '{' => {
                let rest = characters.as_str();
                let length = rest.find('}').filter(|end| !rest[..*end].contains([' ', '"']));
                if let Some(length) = length {
                    characters = rest[length + 1..].chars();
                    shown.push('x');
                } else {
                    shown.push('{');
                }
            }
            other => shown.push(other),
        }
    }
    shown
}

/// Splits `a_name`, `aName` and `A_NAME` into words.
fn split_name(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut small = false;
    for character in name.chars() {
        if character == '_' {
            words.push(' ');
        } else {
            if small && character.is_uppercase() {
                words.push(' ');
            }
            words.push(character);
        }
        small = character.is_lowercase() || character.is_ascii_digit();
    }
    words
}
