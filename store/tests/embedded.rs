//! The embedded server as its users see it: it answers, it ends with its guard and with its parent,
//! and its errors are clear. Needs a Redis or Valkey server on the machine; without one the tests
//! fail with the message that states how to install it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests, which clippy cannot tell"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redcall_common::settings::RedisSettings;
use redcall_store::embedded::{Embedded, EmbeddedError, EmbeddedOptions};

/// Set in the children in which a test runs itself again.
const ROLE: &str = "REDCALL_TEST_ROLE";

#[tokio::test]
async fn answers_until_its_guard_drops_and_leaves_nothing() {
    let server = start(EmbeddedOptions::default()).await;
    let folder = server.dir().to_owned();
    assert_eq!(server.url(), format!("redis+unix://{}/r.sock", folder.display()));
    let mut connection = connect(&folder);
    assert_eq!(request(&mut connection, "PING"), "+PONG");
    assert!(
        request_bulk(&mut connection, "INFO server").contains(&format!("id:{}\r", server.pid()))
    );
    assert!(server.log().contains("ready to accept connections"), "{}", server.log());

    drop(server);

    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "the server has closed its connections");
    assert!(!folder.exists());
}

#[tokio::test]
async fn takes_options_and_further_arguments() {
    let arguments = ["--maxmemory", "12345678"].map(String::from).to_vec();
    let options = EmbeddedOptions { append_only: true, extra_args: arguments, program: None };
    let server = start(options).await;
    let mut connection = connect(server.dir());
    assert!(request_bulk(&mut connection, "INFO memory").contains("\nmaxmemory:12345678\r"));
    assert!(request_bulk(&mut connection, "INFO persistence").contains("\naof_enabled:1\r"));
}

#[tokio::test]
async fn embedded_url_is_replaced_by_server_address() {
    let mut named = RedisSettings::default();
    assert!(Embedded::serve(&mut named).await.unwrap().is_none());
    assert_eq!(named, RedisSettings::default());

    let mut client_settings =
        RedisSettings { url: "embedded".to_owned(), ..RedisSettings::default() };
    let server = Embedded::serve(&mut client_settings).await.unwrap().unwrap();
    let served =
        RedisSettings { url: server.url(), skip_safety_warning: true, ..RedisSettings::default() };
    assert_eq!(client_settings, served);
}

#[tokio::test]
async fn two_servers_are_independent() {
    let (one, other) = (start(EmbeddedOptions::default()), start(EmbeddedOptions::default()));
    let (one, other) = tokio::join!(one, other);
    assert_ne!(one.dir(), other.dir());
    assert_eq!(request(&mut connect(one.dir()), "SET key value"), "+OK");
    assert_eq!(request(&mut connect(other.dir()), "EXISTS key"), ":0");
    drop(one);
    assert_eq!(request(&mut connect(other.dir()), "PING"), "+PONG");
}

#[tokio::test]
async fn killed_server_restarts_with_its_written_data() {
    let extra_args = ["--appendfsync", "always"].map(str::to_owned).to_vec();
    let options = EmbeddedOptions { append_only: true, extra_args, ..EmbeddedOptions::default() };
    let mut server = start(options).await;
    let (url, pid) = (server.url(), server.pid());
    assert_eq!(request(&mut connect(server.dir()), "SET key value"), "+OK");
    server.kill();
    let gone = UnixStream::connect(server.dir().join("r.sock"));
    assert_eq!(gone.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    server.start_again().await.unwrap();
    assert_eq!(request(&mut connect(server.dir()), "EXISTS key"), ":1");
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
}

#[tokio::test]
async fn ends_when_its_parent_is_killed() {
    if std::env::var_os(ROLE).is_some() {
        let server = start(EmbeddedOptions::default()).await;
        println!("\nfolder={}", server.dir().display());
        return std::future::pending().await;
    }
    let mut parent = again("ends_when_its_parent_is_killed").spawn().unwrap();
    let folder = read_folder(&mut parent);
    let mut connection = connect(&folder);
    assert_eq!(request(&mut connection, "PING"), "+PONG");

    parent.kill().unwrap();
    parent.wait().unwrap();

    // The kernel closes the connection when the server is gone.
    assert_eq!(connection.read(&mut [0]).unwrap(), 0);
    drop(start(EmbeddedOptions::default()).await);
    assert!(!folder.exists(), "the next start sweeps the folder of the killed parent");
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_an_error_with_its_log() {
    let complaining = EmbeddedOptions {
        extra_args: vec!["--no-such-setting".to_owned(), "1".to_owned()],
        ..EmbeddedOptions::default()
    };
    let error = Embedded::start(complaining).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::EndedEarly { .. }), "{error}");
    assert!(error.to_string().contains("no-such-setting"), "{error}");

    for program in ["/bin/false", "/no/such/program"] {
        let program = Some(PathBuf::from(program));
        let options = EmbeddedOptions { program, ..EmbeddedOptions::default() };
        let error = Embedded::start(options).await.unwrap_err();
        assert!(matches!(error, EmbeddedError::EndedEarly { .. }), "{error}");
        assert!(error.to_string().contains("apt install redis-server"), "{error}");
    }
}

#[tokio::test]
async fn the_variable_must_name_a_server() {
    if std::env::var_os(ROLE).is_some() {
        let error = Embedded::start(EmbeddedOptions::default()).await.unwrap_err();
        println!("\n{error}");
        return;
    }
    let mut child = again("the_variable_must_name_a_server");
    let output = child.env("REDCALL_REDIS_SERVER", "/bin/false").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/bin/false cannot be used as Redis server"), "{text}");
    assert!(text.contains("brew install redis"), "{text}");
}

async fn start(options: EmbeddedOptions) -> Embedded {
    match Embedded::start(options).await {
        Ok(server) => server,
        // The message, not its Debug form: it names the packages to install.
        Err(error) => panic!("{error}"),
    }
}

/// This test binary, to run one of its tests as a child.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ROLE, "child").stdout(Stdio::piped());
    command
}

fn read_folder(parent: &mut Child) -> PathBuf {
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let folder = lines.find_map(|line| Some(line.unwrap().strip_prefix("folder=")?.to_owned()));
    folder.expect("the child prints its server's folder").into()
}

fn connect(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(folder.join("r.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Returns the first line of the reply to an inline command.
fn request(connection: &mut UnixStream, command: &str) -> String {
    writeln!(connection, "{command}").unwrap();
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Returns the reply to an inline command that returns a bulk string.
fn request_bulk(connection: &mut UnixStream, command: &str) -> String {
    writeln!(connection, "{command}").unwrap();
    let mut reader = BufReader::new(connection);
    let mut length = String::new();
    reader.read_line(&mut length).unwrap();
    let mut bulk = vec![0; length.trim_end().trim_start_matches('$').parse::<usize>().unwrap() + 2];
    reader.read_exact(&mut bulk).unwrap();
    String::from_utf8(bulk).unwrap()
}
