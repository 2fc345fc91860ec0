//! The words that the project avoids, and where a text uses them.
//!
//! Reason: a reader from the field translates "whoever", "let go" or "portion" each time.
//! `words.rs` counts them, `tidy/prose.rs` rejects them, `passages.rs` finds a file's prose.

mod passages;

pub(crate) use passages::{Kind, Passage, passages};

/// Files that contain the lists themselves, as data.
pub(crate) const OWN_FILES: &[&str] = &[
    "dev/xtask/src/words/language.rs",
    "dev/xtask/src/words/language/tests.rs",
    "dev/xtask/src/words/language/passages.rs",
    "dev/xtask/src/tidy/prose.rs",
    "dev/xtask/src/words.rs",
];

/// Words and phrases with their inflections; the first form names the row.
const BANNED: &[&[&str]] = &[
    &["let go", "lets go", "letting go"],
    &["put off", "puts off", "putting off"],
    &["anew"],
    &["mend", "mends", "mended", "mending"],
    &["made good", "make good", "makes good", "making good"],
    &["stand still", "stands still", "stood still", "standing still", "standstill"],
    &["goes round", "go round", "going round", "went round"],
    &["beside it lies", "beside it lie", "beside it lay"],
    &["whoever"],
    &["nobody"],
    &["somebody"],
    &["for ever"],
    &["taken for"],
    &["befell", "befall", "befalls", "befallen"],
    &["bury", "buries", "buried", "burying"],
    &["portion", "portions"],
    &["ears"],
    &["farewell"],
    &["stir", "stirs", "stirred", "stirring"],
    &["strangers", "stranger"],
    &["onlooker", "onlookers"],
];

/// Whole names that are not the field's word for a timeout, a maximum, a message or a request; such
/// a word within a longer name, as of a test, is permitted.
const BANNED_NAMES: &[&str] = &[
    "within",
    "most",
    "told",
    "heard",
    "hear",
    "hears",
    "unheard",
    "said",
    "says",
    "say",
    "asked",
    "asks",
    "ask",
    "asking",
    "question",
    "questions",
    "look",
    "looks",
    "looked",
    "desk",
    "ending",
    "endings",
    "placed",
    "beside",
    "behind",
];

/// The name of the row for "`x` is no queue".
const IS_NO: &str = "is no <noun>";

/// The name of the row for sentences and names that begin with "What".
const FIRST_WHAT: &str = "What …";

/// Words after "is no" that do not make it a negated noun.
const COMPARISONS: &[&str] =
    &["longer", "more", "less", "fewer", "later", "earlier", "older", "newer", "better", "worse"];

const WHO_WORDS: &[&str] =
    &["who", "whom", "whoever", "nobody", "somebody", "anybody", "everybody"];

/// Words that begin a clause, after which "what" is its subject.
const CONJUNCTIONS: &[&str] =
    &["but", "that", "because", "if", "when", "where", "while", "so", "whether", "unless", "until"];

/// One kind of word that prose avoids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    /// A row of the banned list, by its first form.
    Banned(&'static str),
    /// A pronoun for a person in place of the caller, the client or a worker.
    Who,
    /// "What" as the subject of a clause.
    WhatSubject,
}

/// One use of such a word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) word: Word,
    pub(crate) line: usize,
}

/// Returns the number of words of a passage.
pub(crate) fn count(passage: &Passage) -> usize {
    tokens(&passage.text).len()
}

/// Returns the uses of avoided words in a passage, in the order of their places.
pub(crate) fn uses(passage: &Passage) -> Vec<Use> {
    let tokens = tokens(&passage.text);
    let mut uses = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let mut add = |word| uses.push(Use { word, line: passage.line_at(token.start) });
        if let Some(name) = banned(&tokens[at..]).or_else(|| banned_name(passage.kind, &tokens)) {
            add(Word::Banned(name));
        }
        if is_no(&tokens, at) {
            add(Word::Banned(IS_NO));
        }
        let begins = match passage.kind {
            Kind::Name => at == 0 && token.lower == "what" && tokens.len() > 3,
            _ => token.text == "What",
        };
        if begins {
            add(Word::Banned(FIRST_WHAT));
        }
        if passage.kind == Kind::Name {
            continue;
        }
        if WHO_WORDS.contains(&token.lower.as_str()) {
            add(Word::Who);
        }
        if token.lower == "what" && begins_clause(&tokens, at) {
            add(Word::WhatSubject);
        }
    }
    uses
}

struct Token<'a> {
    text: &'a str,
    lower: String,
    /// Its offset in the text.
    start: usize,
    /// The characters between the word before it and this one.
    gap: &'a str,
}

impl Token<'_> {
    /// Returns `true` if only blanks separate it from the word before it.
    fn follows_directly(&self) -> bool {
        self.gap.trim().is_empty() && !self.gap.contains("\n\n")
    }
}

/// Splits a text into words: runs of letters, digits and `-`.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let in_word = |character: char| character.is_alphanumeric() || character == '-';
    let mut tokens = Vec::new();
    let mut end = 0;
    let mut rest = text;
    while let Some(skipped) = rest.find(char::is_alphanumeric) {
        let start = text.len() - rest.len() + skipped;
        let length = text[start..].find(|c| !in_word(c)).unwrap_or(text.len() - start);
        let word = &text[start..start + length];
        tokens.push(Token {
            text: word,
            lower: word.to_lowercase(),
            start,
            gap: &text[end..start],
        });
        end = start + length;
        rest = &text[end..];
    }
    tokens
}

/// Returns the row of the banned list with which `tokens` begin.
fn banned(tokens: &[Token<'_>]) -> Option<&'static str> {
    let begins = |phrase: &str| {
        let mut words = phrase.split(' ').zip(tokens).enumerate();
        phrase.split(' ').count() <= tokens.len()
            && words.all(|(at, (word, token))| {
                token.lower == word && (at == 0 || token.follows_directly())
            })
    };
    BANNED.iter().find(|row| row.iter().any(|phrase| begins(phrase))).map(|row| row[0])
}

/// Returns the row of the banned names that the name `tokens` is.
fn banned_name(kind: Kind, tokens: &[Token<'_>]) -> Option<&'static str> {
    let [name] = tokens else { return None };
    let banned = BANNED_NAMES.iter().find(|banned| **banned == name.lower);
    banned.filter(|_| kind == Kind::Name).copied()
}

/// Returns `true` if the word at `at` is the "is" of `is no <noun>`. "There is no" is plain.
fn is_no(tokens: &[Token<'_>], at: usize) -> bool {
    let [verb, no, noun, ..] = &tokens[at..] else { return false };
    let there = at > 0 && tokens[at - 1].lower == "there";
    matches!(verb.lower.as_str(), "is" | "are" | "was" | "were")
        && no.lower == "no"
        && no.follows_directly()
        && noun.follows_directly()
        && !there
        && !COMPARISONS.contains(&noun.lower.as_str())
}

/// Returns `true` if the word at `at` is the first of a clause: at the start of a sentence, of a
/// list's element or of a table's cell, behind a punctuation mark, or behind a conjunction.
fn begins_clause(tokens: &[Token<'_>], at: usize) -> bool {
    let token = &tokens[at];
    let marks = ['.', ':', ';', '!', '?', ',', '(', '|', '–', '*', '#'];
    at == 0
        || token.gap.contains(marks)
        || token.gap.contains("\n\n")
        || token.gap.contains("\n-")
        || (token.follows_directly() && CONJUNCTIONS.contains(&tokens[at - 1].lower.as_str()))
}

#[cfg(test)]
mod tests;
