use super::*;

fn found(path: &str, text: &str) -> Vec<String> {
    let file = SourceFile::new(path, text);
    check(&file).iter().map(ToString::to_string).collect()
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn long_files_and_wide_lines_are_found_at_their_line() {
    assert_eq!(found("a.rs", &"\n".repeat(500)), nothing());
    let what = "a.rs:501: 501 lines, 500 are the limit – split it by noun, or move its tests out";
    assert_eq!(found("a.rs", &"\n".repeat(501)), [what]);
    assert_eq!(found("a.md", &"\n".repeat(501)), nothing());

    let wide = "ü".repeat(101);
    let what = "a.lua:2: 101 characters wide, 100 are the limit – break it";
    assert_eq!(found("a.lua", &format!("\n{wide}")), [what]);
    assert_eq!(found("a.rs", &"ü".repeat(100)), nothing());
    assert_eq!(found("a.rs", &format!("https://{wide}")), nothing());
}

#[test]
fn left_overs_are_found_in_rust_only() {
    for left in LEFT_OVERS {
        assert_eq!(found("a.rs", &format!("    {left}(x);")).len(), 1, "{left}");
        assert_eq!(found("a.md", left), nothing());
    }
    assert_eq!(found("a.rs", concat!("my_dbg", "!(x)")), nothing());
}

#[test]
fn tests_do_not_sleep_and_are_neither_ignored_nor_repeated() {
    for line in
        [concat!("sleep", "(x)"), concat!("time::sleep", "(x)"), concat!("time.sleep", "(1)")]
    {
        for path in ["client/tests/a.rs", "worker/src/tests.rs", "dev/testkit/src/a.rs"] {
            assert_eq!(found(path, line).len(), 1, "{path}: {line}");
        }
        assert_eq!(found("dev/testkit/src/eventually.rs", line), nothing());
        assert_eq!(found("worker/src/a.rs", line), nothing());
    }
    assert_eq!(found("client/tests/a.rs", "builtin:sleep, no_sleep(x)"), nothing());
    assert_eq!(found("client/src/a.rs", concat!("#[", "ignore = \"slow\"]")).len(), 1);
    assert_eq!(found(".config/nextest.toml", "retries = 2").len(), 1);
    assert_eq!(found("worker/tests/a.rs", "retries = { max = 3 }"), nothing());
}

#[test]
fn only_the_door_prints() {
    for line in [
        concat!("println", "!(\"x\");"),
        concat!("eprint", "!(\"x\");"),
        concat!("writeln!(std::io::stdout", "(), \"x\")"),
    ] {
        assert_eq!(found("cli/src/a.rs", line).len(), 1, "{line}");
        assert_eq!(found("worker/src/log/a.rs", line).len(), 1, "{line}");
        for path in [
            "common/src/diagnostics/output.rs",
            "dev/xtask/src/a.rs",
            "common/src/wire/auth/tests.rs",
        ] {
            assert_eq!(found(path, line), nothing(), "{path}: {line}");
        }
        assert_eq!(found("client/src/a.rs", &format!("/// {line}")), nothing());
    }
    assert_eq!(found("cli/src/a.rs", "command.stdout(Stdio::piped())"), nothing());
}

#[test]
fn only_the_store_and_tests_name_the_driver() {
    for line in ["use redis::Client;", "fn f(pool: &deadpool_redis::Pool)", "<redis::Cmd>::new()"] {
        assert_eq!(found("worker/src/a.rs", line).len(), 1, "{line}");
        assert_eq!(found("common/src/settings/a.rs", line).len(), 1, "{line}");
        for path in ["store/src/a.rs", "dev/testkit/src/a.rs", "client/tests/a.rs"] {
            assert_eq!(found(path, line), nothing(), "{path}: {line}");
        }
    }
    assert_eq!(found("client/src/a.rs", "// redis::Client would not do"), nothing());
    assert_eq!(found("common/src/a.rs", "mod redis;\npub use redis::RedisSettings;"), nothing());
    assert_eq!(found("common/src/a.rs", "use super::redis::RedisSettings;"), nothing());
}

#[test]
fn paths_of_one_machine_are_found_anywhere() {
    for home in HOMES {
        for path in ["README.md", "dev/xtask/src/a.rs", ".ci/run"] {
            assert_eq!(found(path, &format!("cd \"{home}x\"")).len(), 1, "{path}: {home}");
        }
        assert_eq!(found("Cargo.lock", home), nothing());
        for line in [format!("~{home}"), format!("$HOME{home}"), format!("example.org{home}")] {
            assert_eq!(found("README.md", &line), nothing(), "{line}");
        }
    }
}
