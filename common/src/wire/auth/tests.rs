use serde_json::value::RawValue;

use std::collections::BTreeMap;

use super::keyring::SLACK_MS;
use super::*;
use crate::rules::error::{Code, WireError};
use crate::rules::pattern::is_pattern;
use crate::settings::Secret;
use crate::settings::{AuthKey, AuthSettings};
use crate::wire::frame::{Deferral, Frame, FrameType};
use crate::wire::frame_head::FrameHead;

fn keyring(sign_with: &str) -> Keyring {
    let key = |secret: &str, jobs: &[&str]| AuthKey {
        secret: Secret::new(secret),
        jobs: jobs.iter().map(ToString::to_string).collect(),
    };
    let keys = [
        ("all".to_owned(), key("a secret of more than thirty-two bytes", &["*"])),
        ("some".to_owned(), key("another one of more than thirty-two bytes", &["add", "index.*"])),
    ];
    let sign_with = Some(sign_with.to_owned());
    Keyring::new(&AuthSettings { keys: keys.into(), sign_with, required: true })
}

/// Random text for a part: short, so that parts are often equal or empty.
fn text(random: &mut fastrand::Rng) -> String {
    (0..random.usize(..4)).map(|_| *random.choice(&['a', '1', ':', '-', 'ö']).unwrap()).collect()
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Parts {
    texts: [String; 4],
    options: [Option<String>; 3],
    headers: BTreeMap<String, String>,
    budget_ms: Option<u64>,
    expires_at: u64,
}

impl Parts {
    fn random(random: &mut fastrand::Rng) -> Self {
        let headers = (0..random.usize(..3)).map(|_| (text(random), text(random))).collect();
        Self {
            texts: [(); 4].map(|()| text(random)),
            options: [(); 3].map(|()| random.bool().then(|| text(random))),
            headers,
            budget_ms: random.bool().then(|| random.u64(..20)),
            expires_at: random.u64(..20),
        }
    }

    /// Returns a copy with one part changed.
    fn altered(&self, part: usize, random: &mut fastrand::Rng) -> Self {
        let mut altered = self.clone();
        while altered == *self {
            let other = Self::random(random);
            match part {
                0..4 => altered.texts[part] = other.texts[part].clone(),
                4..7 => altered.options[part - 4] = other.options[part - 4].clone(),
                7 => altered.headers = other.headers,
                8 => altered.budget_ms = other.budget_ms,
                _ => altered.expires_at = other.expires_at,
            }
        }
        altered
    }

    fn claims(&self) -> Claims<'_> {
        let [id, name, queue, data] = &self.texts;
        let [response_key, notify, idempotency_key] =
            [0, 1, 2].map(|option: usize| self.options[option].as_deref());
        let (headers, budget_ms, expires_at) = (&self.headers, self.budget_ms, self.expires_at);
        Claims {
            id,
            name,
            queue,
            data,
            response_key,
            notify,
            idempotency_key,
            headers,
            budget_ms,
            expires_at,
        }
    }
}

#[test]
fn altered_request_fails_verification() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let keyring = keyring("all");
    for _ in 0..500 {
        let parts = Parts::random(&mut random);
        let token = keyring.sign(&parts.claims()).unwrap();
        assert_eq!(keyring.verify(&parts.claims(), &token).map(drop), Ok(()), "{parts:?}");
        for part in 0..10 {
            let altered = parts.altered(part, &mut random);
            let result = keyring.verify(&altered.claims(), &token).map(drop);
            assert_eq!(result, Err(Refusal::Wrong), "{parts:?} {altered:?}");
        }
        let place = random.usize(..token.sig.len());
        let mut sig = token.sig.clone().into_bytes();
        sig[place] = if sig[place] == b'0' { b'1' } else { b'0' };
        let forged = Token { sig: String::from_utf8(sig).unwrap(), ..token.clone() };
        let other = Token { key: "some".to_owned(), ..token.clone() };
        let upper = Token { sig: token.sig.to_uppercase() + "0", ..token.clone() };
        let short = Token { sig: token.sig[..62].to_owned(), ..token };
        for wrong in [forged, other, upper, short] {
            let result = keyring.verify(&parts.claims(), &wrong).map(drop);
            assert_eq!(result, Err(Refusal::Wrong), "{wrong:?}");
        }
    }
}

#[test]
fn moved_bytes_between_parts_change_the_signature() {
    let keyring = keyring("all");
    let of = |texts: [&str; 4], options: [Option<&str>; 3], headers: &[(&str, &str)]| Parts {
        texts: texts.map(str::to_owned),
        options: options.map(|option| option.map(str::to_owned)),
        headers: headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        budget_ms: None,
        expires_at: 1,
    };
    let none = [None; 3];
    for (one, other) in [
        (of(["a:b", "", "", ""], none, &[]), of(["a", "b:", "", ""], none, &[])),
        (of(["1:a", "", "", ""], none, &[]), of(["", "1:a", "", ""], none, &[])),
        (of(["", "", "", "-"], none, &[]), of(["", "", "", ""], none, &[])),
        (of([""; 4], [None, Some(""), None], &[]), of([""; 4], [Some(""), None, None], &[])),
        (of([""; 4], [None, None, Some("-")], &[]), of([""; 4], none, &[])),
        (of([""; 4], none, &[("a", "b:c")]), of([""; 4], none, &[("a:b", "c")])),
        (of([""; 4], none, &[("a", "1"), ("b", "2")]), of([""; 4], none, &[("a", "1:b:2")])),
    ] {
        let token = keyring.sign(&one.claims()).unwrap();
        let result = keyring.verify(&other.claims(), &token).map(drop);
        assert_eq!(result, Err(Refusal::Wrong), "{one:?} {other:?}");
    }
}

#[test]
fn a_key_calls_the_jobs_that_it_may() {
    let headers = BTreeMap::new();
    let result = |keyring: &Keyring, name| {
        let claims = Claims {
            id: "x1",
            name,
            queue: "q",
            data: "null",
            response_key: None,
            notify: None,
            idempotency_key: None,
            headers: &headers,
            budget_ms: None,
            expires_at: 1,
        };
        keyring.verify(&claims, &keyring.sign(&claims).unwrap()).map(drop)
    };
    for name in ["add", "index.", "index.new"] {
        assert_eq!(result(&keyring("some"), name), Ok(()), "{name}");
    }
    for name in ["ad", "adder", "index", "reindex.new"] {
        assert_eq!(result(&keyring("some"), name), Err(Refusal::Job), "{name}");
        assert_eq!(result(&keyring("all"), name), Ok(()), "{name}");
    }
    assert!(is_pattern("*") && is_pattern("a*") && is_pattern("größe.ändern"));
    assert!(!is_pattern("") && !is_pattern("a*b") && !is_pattern("**") && !is_pattern("a b"));
}

#[test]
fn a_signature_has_its_time() {
    assert_eq!(within_its_time(1001, 1000), Ok(()));
    assert_eq!(within_its_time(1000, 1000), Err(Refusal::Expired));
    assert_eq!(within_its_time(1000 + LONGEST_MS + SLACK_MS, 1000), Ok(()));
    assert_eq!(within_its_time(1001 + LONGEST_MS + SLACK_MS, 1000), Err(Refusal::TooLong));
    assert_eq!(within_its_time(u64::MAX, 0), Err(Refusal::TooLong));
}

#[test]
fn nothing_shows_a_secret_or_a_signature() {
    let (keyring, headers) = (keyring("all"), BTreeMap::new());
    let parts = Parts { headers, ..Parts::random(&mut fastrand::Rng::with_seed(1)) };
    let token = keyring.sign(&parts.claims()).unwrap();
    let shown = format!("{keyring:?} {token:?} {:?}", Secret::new("s3cret"));
    assert!(!shown.contains(&token.sig[..8]) && !shown.contains("s3cret"), "{shown}");
    assert!(!shown.contains("thirty-two"), "{shown}");
}

/// Returns the signer for the frames of a request signed with these keys.
fn signer_of(keyring: &Keyring, claims: &Claims<'_>) -> Signer {
    keyring.verify(claims, &keyring.sign(claims).unwrap()).unwrap()
}

/// Returns the signer's frame as a client reads it.
fn frame(signer: Option<&Signer>, id: &str, response_key: &str) -> Frame {
    let data = RawValue::from_string("[1]".to_owned()).unwrap();
    let head = FrameHead { id, response_key, attempt: 2, signer };
    let written = head.data(FrameType::Result, 3, Some(&data));
    serde_json::from_str(&written).unwrap()
}

#[test]
fn a_frame_is_trusted_where_it_belongs_and_as_it_was_written() {
    let (keyring, parts) = (keyring("all"), Parts::random(&mut fastrand::Rng::with_seed(2)));
    let plain = Claims { idempotency_key: None, ..parts.claims() };
    let shared = Claims { idempotency_key: Some("order 7"), ..parts.claims() };
    let signer = |claims| signer_of(&keyring, claims);
    let trusts = |keyring: &Keyring, frame: &Frame, key: &str, call: Call<'_>| {
        keyring.judge(frame, key, call).is_ok()
    };
    let own = || frame(Some(&signer(&plain)), "x1", "key of x1");
    let (mine, none) = (Call::Known(None), Call::Unknown);
    assert!(trusts(&keyring, &own(), "key of x1", mine));
    assert!(trusts(&keyring, &own(), "key of x1", none));
    assert!(!trusts(&keyring, &own(), "key of x2", mine));
    type Alteration = fn(&mut Frame);
    let alterations: [Alteration; 8] = [
        |frame| frame.id = "x2".to_owned(),
        |frame| frame.kind = FrameType::Chunk,
        |frame| frame.seq += 1,
        |frame| frame.attempt += 1,
        |frame| frame.data = None,
        |frame| frame.error = Some(Box::new(WireError::new(Code::Timeout, ""))),
        |frame| frame.auth = None,
        |frame| frame.auth = Some(RawValue::NULL.to_owned()),
    ];
    for (number, alter) in alterations.into_iter().enumerate() {
        let mut altered = own();
        alter(&mut altered);
        assert!(!trusts(&keyring, &altered, "key of x1", mine), "{number}");
    }
    let (claims, key) = (plain, "key of x1");
    let (signs, null) = (signer_of(&keyring, &claims), RawValue::NULL);
    let head = FrameHead { id: "x1", response_key: key, attempt: 1, signer: Some(&signs) };
    let deferral = Deferral { notify: Some(true), until_ms: Some(5) };
    let deferred = Frame::parse(head.deferred(1, deferral, null).as_bytes()).unwrap();
    assert!(trusts(&keyring, &deferred, key, mine));
    for (notify, until_ms) in [(Some(false), Some(5)), (None, Some(5)), (Some(true), Some(6))] {
        let altered = Deferral { notify, until_ms };
        let altered = Frame { deferral: Some(Box::new(altered)), ..deferred.clone() };
        assert!(!trusts(&keyring, &altered, key, mine), "{notify:?} {until_ms:?}");
    }
    let error = WireError { data: Some(null.to_owned()), ..WireError::new(Code::Timeout, "no") };
    for written in [head.data(FrameType::Result, 1, Some(null)), head.error(1, &error)] {
        assert!(trusts(&keyring, &serde_json::from_str(&written).unwrap(), key, mine), "{written}");
    }
    // The end of a call goes to all callers that joined it, with their own ids, and to no other
    // caller.
    let call = crate::rules::digest::of_call(shared.name, "order 7", Some("all"));
    let joined = frame(Some(&signer(&shared)), "x1", "key of x1");
    assert!(trusts(&keyring, &joined, "key of x2", Call::Known(Some(&call))));
    assert!(!trusts(&keyring, &joined, "key of x1", Call::Known(Some("another"))));
    assert!(!trusts(&keyring, &joined, "key of x1", mine));
    assert!(!trusts(&keyring, &own(), "key of x1", Call::Known(Some(&call))));
    // A frame under another key of the ring belongs to another caller, even for an unknown call.
    let others = super::tests::keyring("some");
    let result = Err(Distrust::OtherKey { found: "all".to_owned(), own: "some".to_owned() });
    for known in [mine, none] {
        assert_eq!(others.judge(&own(), "key of x1", known), result);
    }
    assert_eq!(others.judge(&joined, "key of x2", Call::Known(Some(&call))), result);
    assert!(trusts(&Keyring { sign_with: None, ..others }, &own(), "key of x1", none));
    // Our own requests, or their frames, need no signature.
    let unsigned = frame(None, "x1", "key of x1");
    let lenient = Keyring { required: false, ..keyring.clone() };
    let silent = Keyring { sign_with: None, ..keyring.clone() };
    assert!(trusts(&lenient, &unsigned, "key of x1", mine));
    assert!(trusts(&silent, &unsigned, "key of x1", mine));
    assert!(!trusts(&keyring, &unsigned, "key of x1", mine));
}

#[test]
fn record_of_a_start_holds_for_its_request_and_its_time() {
    let (keyring, parts) = (keyring("all"), Parts::random(&mut fastrand::Rng::with_seed(3)));
    let token = keyring.sign(&parts.claims()).unwrap();
    let signer = keyring.verify(&parts.claims(), &token).unwrap();
    let start = Start { queue: "q", id: "x1", token: &token };
    let record = signer.started(&start, "w-1", 1_000);
    assert!(signer.is_open(&start, &record, 999) && !signer.is_open(&start, &record, 1_000));
    let later = record.replacen("1000", "9000", 1);
    let texts = ["", "open", "ended", "open w-1 1000", "w-1", &*later];
    for altered in texts.into_iter().chain([&*record.replacen("w-1", "w-2", 1)]) {
        assert!(!signer.is_open(&start, altered, 1), "{altered}");
    }
    let other = Token { sig: "0".repeat(64), ..token.clone() };
    for start in [
        Start { queue: "r", ..start },
        Start { id: "x2", ..start },
        Start { token: &other, ..start },
    ] {
        assert!(!signer.is_open(&start, &record, 1), "{start:?}");
    }
    let other = super::tests::keyring("some").signer("some", None).unwrap();
    assert!(!other.is_open(&start, &record, 1));
}

#[test]
fn seal_of_a_state_holds_for_its_state_alone() {
    let keyring = keyring("all");
    let claims = StateClaims { queue: "service:add", instance: "i", version: 3, state: "[1]" };
    let [all, some] = ["all", "some"].map(|key| keyring.signer(key, None).unwrap());
    for signer in [&all, &some] {
        assert_eq!(keyring.verify_state(&claims, Some(&signer.seal_state(&claims))), Ok(()));
    }
    let seal = all.seal_state(&claims);
    for altered in [
        StateClaims { queue: "service:adder", ..claims },
        StateClaims { instance: "", ..claims },
        StateClaims { version: 2, ..claims },
        StateClaims { state: "[2]", ..claims },
    ] {
        assert_eq!(keyring.verify_state(&altered, Some(&seal)), Err(Forged::Wrong), "{altered:?}");
    }
    let counter = StateClaims { queue: "service:counter", ..claims };
    let unknown = Err(Forged::Key("some".to_owned()));
    assert_eq!(keyring.verify_state(&counter, Some(&some.seal_state(&counter))), unknown);
    assert_eq!(keyring.verify_state(&claims, Some("all")), Err(Forged::Wrong));
    assert_eq!(keyring.verify_state(&claims, None), Err(Forged::Unsigned));
    let lenient = Keyring { required: false, ..keyring };
    assert_eq!(lenient.verify_state(&claims, None), Ok(()));
}
