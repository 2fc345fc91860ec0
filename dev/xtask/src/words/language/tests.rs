use super::*;
use crate::tidy::files::SourceFile;

fn found(path: &str, text: &str) -> Vec<(usize, Kind, Word)> {
    let file = SourceFile::new(path, text);
    let mut all = Vec::new();
    for passage in passages(&file) {
        let uses = uses(&passage);
        all.extend(uses.into_iter().map(|found| (found.line, passage.kind, found.word)));
    }
    all
}

fn words(text: &str) -> Vec<Word> {
    found("a.md", text).into_iter().map(|(_, _, word)| word).collect()
}

#[test]
fn banned_phrases_are_found_in_each_inflection_and_across_lines() {
    for row in BANNED {
        for phrase in *row {
            assert!(words(&format!("It is {phrase}.")).contains(&Word::Banned(row[0])), "{phrase}");
            let broken = phrase.replace(' ', "\n");
            assert!(words(&broken).contains(&Word::Banned(row[0])), "{phrase}");
        }
    }
    assert_eq!(words("He let. Go on, put it off. Earshot, tends, for every, bears."), []);
}

#[test]
fn quotations_code_blocks_and_generated_parts_are_skipped() {
    let text = "`let go` and ``anew``\n```\nportion\n```\n<!-- gen:a -->\nears\n<!-- /gen:a -->\n\
                [x](anew/who.md)\n";
    assert_eq!(words(text), []);
    let lines = format!("{text}An unpaired ` and anew");
    assert_eq!(found("a.md", &lines), [(9, Kind::Markdown, Word::Banned("anew"))]);
}

#[test]
fn negated_nouns_are_found_and_plain_negations_are_not() {
    for text in ["`x` is no queue", "these are no names", "it was no\nerror"] {
        assert_eq!(words(text), [Word::Banned(IS_NO)], "{text}");
    }
    for text in ["There is no queue", "it is no longer there", "is not a queue", "Is it? No key"] {
        assert_eq!(words(text), [], "{text}");
    }
}

#[test]
fn who_words_are_counted_once_each() {
    assert_eq!(words("The client who asks, for whom, by anybody."), [Word::Who; 3]);
    assert_eq!(words("The key whose name"), []);
    assert_eq!(words("Nobody"), [Word::Banned("nobody"), Word::Who]);
}

#[test]
fn clause_that_begins_with_what_is_counted() {
    let first = Word::Banned(FIRST_WHAT);
    assert_eq!(words("What is lost stays."), [first, Word::WhatSubject]);
    for text in ["ends: what is left", "If so, what is left ends", "| a | what |", "so that what"] {
        assert_eq!(words(text), [Word::WhatSubject], "{text}");
    }
    for text in ["It tells what to do", "with what it has", "where it is and what it does"] {
        assert_eq!(words(text), [], "{text}");
    }
}

#[test]
fn rust_is_split_into_comments_strings_and_names() {
    let source = r###"//! Lets
//! go.
/// Who?
/// ```
/// nobody
/// ```
fn portion_of<'a>(ears: &'a str, MendIt: char) -> bool { // anew
    let what_is_left_here = ['"', '\'', 'n'];
    "for \
     ever {who} `anew`" == r#"" stir"# /* a
    farewell */
}
"###;
    let banned = Word::Banned;
    let mut all = found("a.rs", source);
    all.sort();
    assert_eq!(
        all,
        [
            (1, Kind::Comment, banned("let go")),
            (3, Kind::Comment, Word::Who),
            (7, Kind::Comment, banned("anew")),
            (7, Kind::Name, banned("ears")),
            (7, Kind::Name, banned("mend")),
            (7, Kind::Name, banned("portion")),
            (8, Kind::Name, banned(FIRST_WHAT)),
            (9, Kind::Text, banned("for ever")),
            (10, Kind::Text, banned("stir")),
            (11, Kind::Comment, banned("farewell")),
        ]
    );
}

#[test]
fn banned_names_are_whole_names() {
    let source =
        "fn f(within: u8, MOST: u8) -> Told { ends_within_a_second(); \"within\" } // most";
    let found: Vec<_> = found("a.rs", source).into_iter().map(|(_, _, word)| word).collect();
    assert_eq!(found, ["within", "most", "told"].map(Word::Banned));
    assert_eq!(words("Within the most"), []);
}

#[test]
fn other_languages_have_comments_too() {
    let comment = |line| (line, Kind::Comment, Word::Banned("anew"));
    assert_eq!(found("a.lua", "local a = 'x' -- anew\n"), [comment(1)]);
    assert_eq!(found("a.py", "a = \"#\"\n# anew\n"), [comment(2)]);
    assert_eq!(found("a.cjs", "a(`b`); // anew\n"), [comment(1)]);
    assert_eq!(found("a.toml", "a = \"b#anew\"\n# begins anew\n"), [comment(2)]);
    assert_eq!(found("a.c", "char a = '\"'; /* begins\n anew */\n"), [comment(2)]);
    assert_eq!(found("a.dict", "\"b\"\n# anew\n"), [comment(2)]);
    assert_eq!(found(".ci/run", "#!/usr/bin/env bash\n# anew\n"), [comment(2)]);
    assert_eq!(found("run", "# anew\n"), []);
    assert_eq!(found("a.txt", "anew"), []);
    let docstring = (1, Kind::Text, Word::Banned("anew"));
    assert_eq!(found("a.py", "\"\"\"Begins anew.\"\"\"\n"), [docstring]);
}
