//! `[gateways]`: valid values, and one test per mistake.

use std::time::Duration;

use redcall_common::settings::{
    BgpySettings, GrpcDoes, GrpcMethod, PmAnswers, PmRole, ProtocolSettings, RqErrors, RqSettings,
    Secret, TlsSettings, ZmtpDialect, ZmtpSettings,
};

use crate::{Place, bad, bad_env, good};

const SECOND: Duration = Duration::from_secs(1);

/// A door of this protocol that is complete, with `rest` added.
fn door(protocol: &str, rest: &str) -> String {
    let own = match protocol {
        "rq" => "take = ['default']",
        "pm" => "listen = '127.0.0.1:9000'",
        "grpc-avro" => {
            "listen = '127.0.0.1:1'\nmethods.call = { path = '/a.B/c', does = 'call', job = 'j', \
             request = 'r.avsc' }"
        }
        "zmtp" => "listen_commands = ['127.0.0.1:5557']",
        _ => "listen = '127.0.0.1:54321'\nservice = 'counter'",
    };
    format!("[gateways.g]\nprotocol = '{protocol}'\n{own}\n{rest}")
}

const PROTOCOLS: [&str; 5] = ["rq", "pm", "grpc-avro", "zmtp", "bgpy"];

#[test]
fn unset_keys_of_each_protocol_are_default() {
    for protocol in PROTOCOLS {
        let settings = good(&door(protocol, ""));
        let gateway = &settings.gateways["g"];
        assert_eq!(gateway.protocol.name(), protocol);
        assert_eq!(gateway.timeout, 30 * SECOND);
        let message = if protocol == "grpc-avro" { 4 << 20 } else { settings.limits.request };
        assert_eq!(gateway.message, message, "{protocol}");
        assert_eq!(gateway.inward.jobs, ["*"]);
        let queue = (protocol == "zmtp").then_some("device");
        assert_eq!(gateway.inward.queue.as_deref(), queue);
        assert_eq!(gateway.outward.queues, ["default"]);
        assert_eq!(gateway.outward.concurrency, 64);
        assert_eq!(gateway.listening.connections, 1024);
        let idle = (protocol == "bgpy").then_some(30 * SECOND);
        assert_eq!(gateway.listening.idle, idle);
    }
    let text = "[client]\ntimeout = '7s'\n[limits]\nrequest = '1MiB'\n".to_owned();
    let settings = good(&(text + &door("rq", "")));
    let gateway = &settings.gateways["g"];
    assert_eq!((gateway.timeout, gateway.message), (7 * SECOND, 1 << 20));
}

#[test]
fn every_common_key_reaches_its_field() {
    let rest = "queue = 'q'\nnames = { foreign = 'own' }\nprefix = 'py.'\njobs = ['py.*', 'own']\n\
                timeout = '2s'\nserves = ['a', 'b']\nqueues = ['x']\nconcurrency = 3\n\
                connections = 5\nmessage = '2KiB'\nidle = '9s'\nsign_with = 'k'\n\
                tls = { cert_file = 'c.pem', key_file = 'k.pem', client_ca_file = '/ca.pem' }\n\
                [auth.keys.k]\nsecret = '0123456789abcdef0123456789abcdef'";
    let place = Place::with("redcall.toml", door("pm", rest));
    let gateway = place.load(None, &[]).unwrap().gateways.remove("g").unwrap();
    let inward = gateway.inward;
    assert_eq!(inward.queue.as_deref(), Some("q"));
    assert_eq!(inward.names["foreign"], "own");
    assert_eq!((&*inward.prefix, inward.sign_with.as_deref()), ("py.", Some("k")));
    assert_eq!(inward.jobs, ["py.*", "own"]);
    assert_eq!(gateway.outward.serves, ["a", "b"]);
    assert_eq!((&*gateway.outward.queues, gateway.outward.concurrency), (&["x".into()][..], 3));
    assert_eq!((gateway.timeout, gateway.message), (2 * SECOND, 2048));
    assert_eq!((gateway.listening.connections, gateway.listening.idle), (5, Some(9 * SECOND)));
    let tls = TlsSettings {
        cert_file: place.path("c.pem"),
        key_file: place.path("k.pem"),
        client_ca_file: Some("/ca.pem".into()),
    };
    assert_eq!(gateway.listening.tls, Some(tls));
}

#[test]
fn own_keys_of_each_protocol_reach_their_fields() {
    let own = |protocol, rest: &str| good(&door(protocol, rest)).gateways["g"].protocol.clone();
    let rest = "url = 'redis://:pw@h:6379/1'\nfunction = 'f'\nerrors = 'silent'\nto = 'low'\n\
                result_ttl = '9s'";
    let expected = RqSettings {
        url: Some(Secret::new("redis://:pw@h:6379/1")),
        take: vec!["default".into()],
        function: "f".into(),
        errors: RqErrors::Silent,
        to: "low".into(),
        result_ttl: 9 * SECOND,
    };
    assert_eq!(own("rq", rest), ProtocolSettings::Rq(expected));

    let text = "[gateways.g]\nprotocol = 'pm'\nconnect = 'host:9000'\ncancels = { stop = 'run' }";
    let ProtocolSettings::Pm(pm) = &good(text).gateways["g"].protocol else { panic!() };
    assert_eq!((&pm.role, pm.answers), (&PmRole::Connect("host:9000".into()), PmAnswers::Typed));
    assert_eq!(pm.cancels["stop"], "run");
    let ProtocolSettings::Pm(pm) = own("pm", "") else { panic!() };
    assert_eq!(pm.answers, PmAnswers::Plain);

    let rest = "listen_events = ['127.0.0.1:5556']\nconnect_commands = ['d:1']\n\
                connect_events = ['d:2']\nserves = ['a']\nothers = 'command.'\n\
                dialect = '0.9'\nidentifier = 'id'\ntopics = [7, 8]\ncommands = { 100 = 'a' }";
    let expected = ZmtpSettings {
        listen_commands: vec!["127.0.0.1:5557".parse().unwrap()],
        listen_events: vec!["127.0.0.1:5556".parse().unwrap()],
        connect_commands: vec!["d:1".into()],
        connect_events: vec!["d:2".into()],
        commands: [(100, "a".into())].into(),
        others: Some("command.".into()),
        dialect: ZmtpDialect::V0_9,
        identifier: Some("id".into()),
        topics: vec![7, 8],
    };
    assert_eq!(own("zmtp", rest), ProtocolSettings::Zmtp(expected));

    let expected = BgpySettings {
        listen: "127.0.0.1:54321".parse().unwrap(),
        service: "counter".into(),
        instance: "a@b".into(),
        tasks: Some(["i", "e", "x"].map(str::to_owned)),
        pace: SECOND,
    };
    let rest = "instance = 'a@b'\ntasks = ['i', 'e', 'x']\npace = '1s'";
    assert_eq!(own("bgpy", rest), ProtocolSettings::Bgpy(expected));
    let ProtocolSettings::Bgpy(bgpy) = own("bgpy", "instance = ''") else { panic!() };
    assert_eq!((&*bgpy.instance, bgpy.tasks), ("", None));
}

#[test]
fn method_of_grpc_has_schemas_beside_the_settings_file() {
    let text = "[gateways.g]\nprotocol = 'grpc-avro'\nlisten = '[::1]:0'\n\
                registry = '127.0.0.1:8081'\n[gateways.g.methods.init]\n\
                path = '/templateaapi.TemplateInit/initTemplate'\ndoes = 'init'\njob = 'template'\n\
                request = 'a.avsc'\nkey = 'hash'\nstatus = 'status'\nfollow = 'task_args.p'";
    let place = Place::with("redcall.toml", text);
    let settings = place.load(None, &[]).unwrap();
    let ProtocolSettings::GrpcAvro(grpc) = &settings.gateways["g"].protocol else { panic!() };
    let expected = GrpcMethod {
        path: "/templateaapi.TemplateInit/initTemplate".into(),
        does: GrpcDoes::Init,
        job: "template".into(),
        request: place.path("a.avsc"),
        response: place.path("a.avsc"),
        key: Some("hash".into()),
        status: Some("status".into()),
        follow: Some("task_args.p".into()),
        kept: 7 * 86_400 * SECOND,
    };
    assert_eq!(grpc.methods["init"], expected);
    assert_eq!(grpc.registry, Some("127.0.0.1:8081".parse().unwrap()));
}

#[test]
fn monitor_without_a_job_has_that_of_the_init_methods() {
    let fields = "request = 'r', key = 'k', status = 's'";
    let method = |name: &str, does: &str, job: &str| {
        format!("methods.{name} = {{ path = '/a/{name}', does = '{does}', {job}{fields} }}\n")
    };
    let monitor = method("m", "monitor", "");
    let text = |inits: &[String]| {
        let head = "[gateways.g]\nprotocol = 'grpc-avro'\nlisten = '127.0.0.1:1'\n";
        format!("{head}{}{monitor}", inits.concat())
    };
    let one = method("i", "init", "job = 'x', ");
    let settings = good(&text(std::slice::from_ref(&one)));
    let ProtocolSettings::GrpcAvro(grpc) = &settings.gateways["g"].protocol else { panic!() };
    assert_eq!(grpc.methods["m"].job, "x");
    for inits in [&[][..], &[one, method("j", "init", "job = 'y', ")]] {
        bad(
            &text(inits),
            "gateways.g.methods: has no job in the method m",
            "add job = \"JOB\", the job that it monitors",
        );
    }
}

#[test]
fn token_comes_from_the_text_from_a_file_or_from_the_environment() {
    let place = Place::with("redcall.toml", door("bgpy", "token_file = 't'"));
    place.write("t", "top secret\r\n");
    let token = |place: &Place, env| {
        let settings = place.load(None, env).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
        settings.gateways["g"].listening.token.clone()
    };
    assert_eq!(token(&place, &[]), Some(Secret::new("top secret")));
    let place = Place::with("redcall.toml", door("bgpy", ""));
    assert_eq!(token(&place, &[]), None);
    let env = [("REDCALL__GATEWAYS__G__TOKEN", "secret")];
    assert_eq!(token(&place, &env), Some(Secret::new("secret")));
    bad(
        &door("bgpy", "token = 'a'\ntoken_file = 't'"),
        "gateways.g: has token and token_file\nDIR/redcall.toml: gateways.g.token_file: cannot be \
         read",
        "keep one of them\nwrite the token, or the path of a file that holds it and nothing else",
    );
    bad(
        &door("bgpy", "token = 7"),
        "gateways.g.token: must be text, but is something else",
        "write the token, or the path of a file that holds it and nothing else",
    );
}

#[test]
fn door_is_wrong() {
    let protocols = "protocol = \"rq\", \"pm\", \"grpc-avro\", \"zmtp\" or \"bgpy\"";
    bad("[gateways.g]\nqueue = 'q'", "gateways.g: has no protocol", &format!("add {protocols}"));
    bad(
        "[gateways.g]\nprotocol = 'rk'",
        "gateways.g.protocol: must be rq, pm, grpc-avro, zmtp or bgpy, but is \"rk\"",
        "did you mean `rq`? allowed values: rq, pm, grpc-avro, zmtp, bgpy",
    );
    bad(
        "[gateways.'a b']\nprotocol = 'rq'\ntake = ['q']",
        "gateways.a b: is not the name of a gateway",
        "a gateway's name is 1 to 64 characters of A-Z, a-z, 0-9, `_`, `.` and `-`",
    );
    bad_env(
        &[("REDCALL__GATEWAYS__NEW__QUEUE", "q")],
        "REDCALL__GATEWAYS__NEW__QUEUE: gateways.new: there is no such gateway to override",
        "gateways: none",
    );
    bad(
        &door("rq", "sign_with = 'k'"),
        "gateways.g.sign_with: is not the name of a key in auth.keys",
        "add [auth.keys.NAME], or remove sign_with",
    );
    bad(
        &door("rq", "sign_with = 'x'\n[auth.keys.k]\nsecret = '0123456789abcdef0123456789abcdef'"),
        "gateways.g.sign_with: is not the name of a key in auth.keys",
        "write the name of one of auth.keys: k",
    );
    bad(
        &door("pm", "queues = ['q']"),
        "gateways.g: has queues without serves",
        "add serves = [\"JOB\"], or remove queues",
    );
    bad(
        &door("pm", "serves = ['a', 'a']"),
        "gateways.g.serves[1]: names the job `a` again",
        "name each job once",
    );
    bad(
        &door("pm", "tls = { cert_file = 'c' }"),
        "gateways.g.tls: has no key_file",
        "write tls = { cert_file = \"cert.pem\", key_file = \"key.pem\" }",
    );
    bad(
        &door("pm", "message = '1MB'"),
        "gateways.g.message: must be a size, but is \"1MB\"",
        "write bytes as a whole number, or text such as \"512KiB\" or \"2MiB\" (units: B, KiB, \
         MiB, GiB)",
    );
}

#[test]
fn key_of_another_protocol_is_unknown() {
    for (protocol, key) in [
        ("rq", "listen = '127.0.0.1:1'"),
        ("rq", "token = 'a'"),
        ("pm", "take = ['a']"),
        ("pm", "token = 'a'"),
        ("grpc-avro", "serves = ['a']"),
        ("grpc-avro", "names = { a = 'b' }"),
        ("zmtp", "listen = '127.0.0.1:1'"),
        ("bgpy", "queue = 'q'"),
        ("bgpy", "dialect = '0.9'"),
    ] {
        let name = key.split(' ').next().unwrap();
        let (problem, help) = Place::with("redcall.toml", door(protocol, key)).refusal(None, &[]);
        let expected = format!("DIR/redcall.toml: gateways.g.{name}: unknown key");
        assert_eq!(problem, expected, "{protocol}");
        assert!(help.contains("allowed keys: protocol, timeout, message, "), "{help}");
    }
    // A door that connects has none of the keys of doors that listen.
    let text = "[gateways.g]\nprotocol = 'pm'\nconnect = 'h:1'\nconnections = 3";
    let (problem, _) = Place::with("redcall.toml", text).refusal(None, &[]);
    assert_eq!(problem, "DIR/redcall.toml: gateways.g.connections: unknown key");
}

#[test]
fn open_door_needs_credentials_or_a_word() {
    let help = "add tls.client_ca_file or open = true, or listen on 127.0.0.1";
    let pm = |rest: &str| format!("[gateways.g]\nprotocol = 'pm'\nlisten = '0.0.0.0:9'\n{rest}");
    let problem = "gateways.g.listen: lets other machines in without credentials (0.0.0.0:9)";
    bad(&pm(""), problem, help);
    bad(&pm("open = false"), problem, help);
    // TLS alone names the door, not its callers.
    bad(&pm("tls = { cert_file = 'c', key_file = 'k' }"), problem, help);
    good(&pm("tls = { cert_file = 'c', key_file = 'k', client_ca_file = 'a' }"));
    good(&pm("open = true"));
    let bgpy = |rest: &str| {
        format!("[gateways.g]\nprotocol = 'bgpy'\nlisten = '[::]:9'\nservice = 's'\n{rest}")
    };
    let help = "add token_file, tls.client_ca_file or open = true, or listen on 127.0.0.1";
    let problem = "gateways.g.listen: lets other machines in without credentials ([::]:9)";
    bad(&bgpy(""), problem, help);
    good(&bgpy("token = 't'"));
    let (problem, _) = Place::with("redcall.toml", door("zmtp", "listen_events = ['10.0.0.1:1']"))
        .refusal(None, &[]);
    let expected = "DIR/redcall.toml: gateways.g.listen_events: lets other machines in without \
                    credentials (10.0.0.1:1)";
    assert_eq!(problem, expected);
    good("[gateways.g]\nprotocol = 'pm'\nlisten = '[::ffff:127.0.0.1]:9'");
}

fn only(protocol: &str, rest: &str) -> String {
    format!("[gateways.g]\nprotocol = '{protocol}'\n{rest}")
}

#[test]
fn rq_or_pm_is_incomplete() {
    bad(
        &only("rq", ""),
        "gateways.g: has neither take nor serves",
        "add take = [\"default\"] for rq callers, or serves = [\"JOB\"] for rq workers",
    );
    good(&only("rq", "serves = ['a']"));
    bad(
        &only("rq", "take = ['a', 'a']"),
        "gateways.g.take[1]: names the queue `a` again",
        "name each queue once",
    );
    bad(
        &only("rq", "take = ['a']\nurl = 'embedded'"),
        "gateways.g.url: names no server",
        "write the address of rq's Redis, such as \"redis://127.0.0.1:6379/0\"",
    );
    bad(
        &only("pm", "listen = '127.0.0.1:1'\nconnect = 'h:1'"),
        "gateways.g: has listen and connect",
        "keep one of them",
    );
    bad(
        &only("pm", ""),
        "gateways.g: has neither listen nor connect",
        "add connect = \"127.0.0.1:9000\" to be an application of Pipeline Manager, or listen for \
         applications",
    );
    bad(
        &only("pm", "connect = 'h'"),
        "gateways.g.connect: must be a host and a port, such as \"127.0.0.1:9000\", but is \"h\"",
        "write a host and a port, such as \"127.0.0.1:9000\"",
    );
}

#[test]
fn zmtp_is_incomplete() {
    bad(
        &only("zmtp", ""),
        "gateways.g: has none of listen_commands, listen_events, connect_commands, connect_events",
        "add listen_commands = [\"127.0.0.1:5557\"] to be a device",
    );
    bad(
        &only("zmtp", "connect_commands = ['h:1']"),
        "gateways.g: has connect_commands without serves",
        "add serves = [\"JOB\"]",
    );
    bad(
        &door("zmtp", "serves = ['a']"),
        "gateways.g: has serves without connect_commands",
        "add connect_commands = [\"127.0.0.1:5557\"], or remove serves",
    );
    bad(
        &door("zmtp", "commands = { x = 'a' }"),
        "gateways.g.commands.x: is not the number of a command",
        "write NUMBER = \"JOB\"",
    );
    for others in ["", "others = 'b.'\n", "others = 'a'\n"] {
        bad(
            &only(
                "zmtp",
                &format!(
                    "connect_commands = ['h:1']\n{others}serves = ['a.7', 'b.7']\n\
                     commands = {{ 7 = 'b.7' }}"
                ),
            ),
            "gateways.g: has no command for the job `a.7` of serves",
            "add it to commands, or set others to the beginning of its name",
        );
    }
    good(&only("zmtp", "connect_commands = ['h:1']\nothers = 'a.'\nserves = ['a.7']"));
    bad(
        &door("zmtp", "commands = { 7 = 'a', 8 = 'b', 9 = 'a' }"),
        "gateways.g: has the commands 7 and 9 for the job `a`",
        "keep one of them; another job may have the same handler",
    );
    bad(
        &door("zmtp", "topics = [7, 0]"),
        "gateways.g.topics[1]: must be from 1 to 4294967295, but is 0",
        "write a whole number from 1 to 4294967295",
    );
}

#[test]
fn bgpy_or_grpc_is_incomplete() {
    bad(
        &door("bgpy", "tasks = ['a', 'b']"),
        "gateways.g.tasks: must name three tasks, but names 2",
        "write the tasks for init, execute and exit, in this order",
    );
    bad(
        &only("bgpy", "listen = '127.0.0.1:1'"),
        "gateways.g: has no service",
        "add service = \"counter\"",
    );
    let method = "[gateways.NAME.methods.init] with path, does, job and request below";
    bad(
        &only("grpc-avro", "listen = '127.0.0.1:1'"),
        "gateways.g: has no methods",
        &format!("add {method}"),
    );
    bad(
        &only(
            "grpc-avro",
            "listen = '127.0.0.1:1'\nmethods.m = { path = '/a/b', does = 'init', job = 'j', \
             request = 'r', key = 'k' }",
        ),
        "gateways.g.methods.m: has no status",
        "add status = \"FIELD\", a field of the response",
    );
    bad(
        &only(
            "grpc-avro",
            "listen = '127.0.0.1:1'\nmethods.m = { path = 'a/b', does = 'call', job = 'j', \
             request = 'r' }",
        ),
        "gateways.g.methods.m.path: must be a gRPC path such as \"/package.Service/method\", but \
         is \"a/b\"",
        "write a gRPC path such as \"/package.Service/method\"",
    );
    let rest = "methods.again = { path = '/a.B/c', does = 'call', job = 'k', request = 'r' }";
    bad(
        &door("grpc-avro", rest),
        "gateways.g: has the path /a.B/c in the methods again and call",
        "give each method a path of its own",
    );
}
