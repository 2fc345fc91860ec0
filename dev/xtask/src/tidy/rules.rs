//! Rules about the text of one file, each with its reason.

use super::files::SourceFile;
use super::finding::Finding;

/// Reason: a file that needs scrolling for its outline holds more than one noun.
const MAX_LINES: usize = 500;

/// Reason: two files fit side by side on a screen; rustfmt does not wrap comments and strings.
const WIDEST: usize = 100;

/// Reason: left-overs of work that is not finished. In two halves, or this file would be found.
const LEFT_OVERS: &[&str] =
    &[concat!("todo", "!"), concat!("unimplemented", "!"), concat!("dbg", "!")];

/// Reason: the only paths of one machine that ever slip in.
const HOMES: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// The crates behind the store's door.
const DRIVERS: &[&str] = &[concat!("redis", "::"), concat!("deadpool_redis", "::")];

/// Macros that panic when their stream cannot be written, and the streams themselves.
const STREAMS: &[&str] = &[
    concat!("print", "!"),
    concat!("println", "!"),
    concat!("eprint", "!"),
    concat!("eprintln", "!"),
    concat!("stdout", "()"),
    concat!("stderr", "()"),
];

/// The files that have to do with a stream itself: the door, the log's sink, a worker that gives up
/// its terminal, lines that another program of ours reads, and a progress bar.
const OWN_STREAMS: &[&str] = &[
    "common/src/diagnostics/output.rs",
    "worker/src/log/mod.rs",
    "worker/src/bin/redcall-worker/background.rs",
    "dev/chaos/src/work.rs",
    "example/src/index/bar.rs",
];

/// The crates whose programs are for users.
const PRINTS: &[&str] = &[
    "common/src/",
    "client/src/",
    "worker/src/",
    "cli/src/",
    "dev/chaos/src/",
    "dev/bench/src/",
    "example/src/",
];

/// Checks one file against every rule.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Findings { file, list: Vec::new() };
    let rust = file.has_extension("rs");
    let lua = file.has_extension("lua");
    if rust || lua || file.has_extension("py") {
        size(&mut findings);
    }
    if rust || lua {
        width(&mut findings);
    }
    if rust {
        left_overs(&mut findings);
        ignored_tests(&mut findings);
        redis_has_one_door(&mut findings);
        printing_has_one_door(&mut findings);
    }
    if is_test(&file.path) {
        sleeping_tests(&mut findings);
    }
    if file.path == ".config/nextest.toml" {
        repeated_tests(&mut findings);
    }
    if file.path != "Cargo.lock" {
        paths_of_one_machine(&mut findings);
    }
    findings.list
}

struct Findings<'a> {
    file: &'a SourceFile,
    list: Vec<Finding>,
}

impl Findings<'_> {
    /// Each line on which `what` sees something.
    fn on_lines(&mut self, fix: &'static str, what: impl Fn(&str) -> Option<String>) {
        let path = &self.file.path;
        let found = self.file.lines().filter_map(|(line, text)| {
            what(text).map(|what| Finding { path: path.clone(), line, what, fix })
        });
        self.list.extend(found);
    }
}

fn size(findings: &mut Findings) {
    let lines = findings.file.text.lines().count();
    if lines > MAX_LINES {
        findings.list.push(Finding {
            path: findings.file.path.clone(),
            line: MAX_LINES + 1,
            what: format!("{lines} lines, {MAX_LINES} are the limit"),
            fix: "split it by noun, or move its tests out",
        });
    }
}

fn width(findings: &mut Findings) {
    findings.on_lines("break it", |line| {
        let width = line.chars().count();
        // Addresses cannot be broken.
        let too_wide = width > WIDEST && !line.contains("://");
        too_wide.then(|| format!("{width} characters wide, {WIDEST} are the limit"))
    });
}

fn left_overs(findings: &mut Findings) {
    findings.on_lines("finish it or take it out", |line| {
        let found = LEFT_OVERS.iter().find(|left| stands_alone(line, left, in_name))?;
        Some(format!("{found} is left over"))
    });
}

/// Reason: an ignored test proves nothing, but seems to.
fn ignored_tests(findings: &mut Findings) {
    let attribute = concat!("#[", "ignore");
    findings.on_lines("make it pass, or make it a `cargo xtask long`", |line| {
        line.contains(attribute).then(|| "an ignored test".to_owned())
    });
}

/// Reason: a sleeping test waits too long on a fast machine and too short on a slow one.
fn sleeping_tests(findings: &mut Findings) {
    let call = concat!("sleep", "(");
    findings.on_lines("wait for a signal, or use the testkit's `eventually`", |line| {
        stands_alone(line, call, in_name).then(|| "a test that sleeps".to_owned())
    });
}

/// Reason: a test that passes at the second try has found a fault, in the code or in itself. (In
/// tests the word names the product's own setting and is allowed.)
fn repeated_tests(findings: &mut Findings) {
    findings.on_lines("take it out, and correct the test that needs it", |line| {
        line.trim_start().starts_with("retries").then(|| "tests are repeated".to_owned())
    });
}

/// Reason: the same as for `arrows::DRIVERS`, within the crate that has the door.
fn redis_has_one_door(findings: &mut Findings) {
    let path = &findings.file.path;
    let inside = ["store/src/", "dev/testkit/"].iter().any(|door| path.starts_with(door));
    // Where a file has a module of that name, it means the module.
    let own_module = findings.file.lines().any(|(_, line)| line.trim().ends_with("mod redis;"));
    if inside || is_test(path) || own_module {
        return;
    }
    findings.on_lines("go through redcall_store", |line| {
        let code = line.split("//").next().unwrap_or_default();
        // Behind `::` it is a module or a re-export of that name.
        let other = |before| in_name(before) || before == ':';
        let driver = DRIVERS.iter().find(|name| stands_alone(code, name, other))?;
        Some(format!("names the driver `{driver}`"))
    });
}

/// Reason: `redcall queues | head -1` panicked, and a worker whose stderr was full ended.
fn printing_has_one_door(findings: &mut Findings) {
    let path = &findings.file.path;
    let prints = PRINTS.iter().any(|folder| path.starts_with(folder));
    if !prints || is_test(path) || OWN_STREAMS.contains(&path.as_str()) {
        return;
    }
    findings.on_lines("go through redcall_common::output, or log it", |line| {
        let code = line.split("//").next().unwrap_or_default();
        let is_terminal_check = code.contains("().is_terminal()");
        let stream = STREAMS.iter().find(|stream| stands_alone(code, stream, in_name))?;
        let stream = Some(stream).filter(|_| !is_terminal_check)?;
        Some(format!("uses `{stream}`"))
    });
}

/// Reason: such a path works on one machine only, and publishes its name.
fn paths_of_one_machine(findings: &mut Findings) {
    findings.on_lines("make it relative, or take a path from the environment", |line| {
        let home = HOMES.iter().find(|home| has_absolute(line, home))?;
        Some(format!("a path below {home}"))
    });
}

/// Files of which all is test code. The testkit counts, except for the one place that may poll.
fn is_test(path: &str) -> bool {
    let in_folder = path.split('/').any(|part| part == "tests" || part == "tests.rs");
    in_folder || (path.starts_with("dev/testkit/") && path != "dev/testkit/src/eventually.rs")
}

/// Returns `true` if `line` has an absolute path that begins with `path`: not after another part of
/// a path, a variable or `~`.
fn has_absolute(line: &str, path: &str) -> bool {
    let joins = |before| in_name(before) || matches!(before, '-' | '.' | '~' | '}' | '*' | '/');
    stands_alone(line, path, joins)
}

/// Returns `true` if `line` has `what` without a character before it to which it belongs.
fn stands_alone(line: &str, what: &str, joins: impl Fn(char) -> bool) -> bool {
    line.match_indices(what).any(|(at, _)| !line[..at].chars().next_back().is_some_and(&joins))
}

fn in_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests;
