use super::*;

#[test]
fn key_names_are_fixed() {
    let keys = Keys::new("redcall").of("default");
    assert_eq!(keys.queue(), "redcall:{default}:queue");
    assert_eq!(keys.response("x"), "redcall:{default}:response:x");
    assert_eq!(keys.notify("c"), "redcall:{default}:notify:c");
    assert_eq!(keys.dead(), "redcall:{default}:dead");
    assert_eq!(Keys::new("redcall").queues(), "redcall:queues");
    assert_eq!(Keys::new("redcall").events("door"), "redcall:{events:door}:events");
    assert_eq!(Keys::new("redcall").lease("door"), "redcall:{lease:door}:lease");
}

#[test]
fn type_of_a_key_is_that_of_its_row() {
    let keys = Keys::new("redcall").of("q");
    for (key, kind) in [
        (keys.queue(), Some("list")),
        (keys.leases("w"), Some("hash")),
        (keys.lane_inbox("w", 1), Some("list")),
        (keys.lane_poll("w", 1), Some("string")),
        (keys.workers(), Some("zset")),
        (keys.worker("w"), Some("string")),
        (keys.parked_names(), Some("set")),
        (keys.parked("add"), Some("list")),
        (keys.dead(), Some("stream")),
        (keys.control(), None),
        ("redcall:queues".to_owned(), None),
    ] {
        assert_eq!(type_of(&key), kind, "{key}");
    }
}

#[test]
fn the_table_says_which_keys_must_have_a_ttl() {
    let keys = Keys::new("redcall");
    let q = keys.of("q");
    for key in [
        keys.queues(),
        keys.events("door.7"),
        keys.lease("door.7"),
        q.response("x"),
        q.workers(),
        q.worker("w"),
        q.names(),
        q.poll("w"),
        q.lane_poll("w", 0),
        q.lanes(),
        q.probe("w").queue(),
        q.idem("d"),
        q.seen("x"),
        q.state(""),
        q.state("user-42"),
        q.deferred_ids(),
        q.deferred("x"),
        q.status("x"),
        q.answers(),
        q.answers_full(),
        format!("{}:rate:add:a:b", q.base()),
    ] {
        assert_eq!(keys.bound_of(&key), Some(Bound::Ttl), "{key}");
    }
    for key in [q.queue(), q.dead(), q.leases("w"), q.parked_names(), q.parked("a:b")] {
        assert_eq!(keys.bound_of(&key), Some(Bound::Other), "{key}");
    }
    for key in [
        "redcall:{q}:other",
        "redcall:{q}:queue:x",
        "redcall:q",
        "x",
        "redcall:{}:dead",
        "redcall:{events:a:b}:events",
        "redcall:{lease:a}:events",
    ] {
        assert_eq!(keys.bound_of(key), None, "{key}");
    }
}

#[test]
fn every_key_says_how_many_bytes_it_may_have() {
    for [what, ..] in TABLE {
        assert_ne!(bytes::of(what), "", "{what}");
    }
}

#[test]
fn queue_is_found_by_each_key_that_holds_its_work() {
    let keys = Keys::new("redcall");
    let q = keys.of("a.b-c");
    for key in [q.queue(), q.dead(), q.scheduled(), q.parked_names(), q.live()] {
        assert_eq!(keys.parse_queue(&key), Some("a.b-c"), "{key}");
    }
    for other in ["redcall2:{q}:queue", "redcall:{q}:queue:x", "redcall:{}:queue"] {
        assert_eq!(keys.parse_queue(other), None, "{other}");
    }
    let topic = keys.events("queue");
    assert_eq!((keys.parse_queue(&topic), keys.parse_queue(&q.state(""))), (None, None));
}

#[test]
fn foreign_key_is_not_a_response_key() {
    let keys = Keys::new("redcall");
    assert_eq!(keys.parse_response("redcall:{q}:response:a"), Some(("q", "a")));
    for foreign in ["redcall:{q}:queue", "other:{q}:response:a", "redcall:{q}:response:a:b"] {
        assert_eq!(keys.parse_response(foreign), None, "{foreign}");
    }
    let q = keys.of("q");
    let partitioned = keys.parse_limited("redcall:{q}:limited:a:b:c");
    assert_eq!(partitioned, Some(("q", "a:b", "c")));
    assert_eq!(keys.parse_limited("redcall:{q}:limited"), None);
    let service = keys.of("service:s");
    for instance in ["", "a@b.c"] {
        let key = service.state(instance);
        assert_eq!(keys.parse_state(&key), Some(("service:s", instance)));
    }
    for other in ["redcall:{q}:state", "redcall:{service:s}:states", "redcall:{service:s}:dead"] {
        assert_eq!(keys.parse_state(other), None, "{other}");
    }
    assert!(q.is_notify("redcall:{q}:notify:me") && !q.is_notify("redcall:{p}:notify:me"));
    assert!(Keys::is_status(q.status("a").as_bytes()));
    assert!(!Keys::is_status(q.notify("status").as_bytes()));
    assert!(!q.is_notify("redcall:{q}:notify:") && !q.is_notify("redcall:{q}:notify:a:b"));
}
