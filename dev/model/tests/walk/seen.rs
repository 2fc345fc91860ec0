//! The state of Redis, in the model's terms.

use std::collections::HashMap;

use redcall_model::store::{
    Holder, Id, LaneEntry, Letter, Record, Registered, SettleResult, Store, UNREADABLE,
};
use redcall_testkit::redis::{FromRedisValue, Value, from_redis_value, pipe};

use super::real::{Real, element, id_of, number_of, tick_of, worker_number, worker_of};
use super::{REQUESTS, WORKERS};

/// The store, read by plain commands in one round trip (and the dead letters by the script that
/// reads them).
pub(crate) async fn read(real: &mut Real) -> Store {
    let keys = real.keys.clone();
    let (mut pipe, mut store) = (pipe(), Store::new(WORKERS.into(), REQUESTS.into()));
    pipe.lrange(keys.queue(), 0, -1).lrange(keys.parked("special"), 0, -1);
    pipe.exists(keys.paused()).smembers(keys.parked_names()).zscore(keys.names(), "special");
    pipe.hgetall(keys.live()).zrange_withscores(keys.schedule(), 0, -1);
    pipe.hgetall(keys.scheduled()).zrange(keys.cancelled(), 0, -1).hgetall(keys.attempts());
    pipe.hget(keys.ticks(), "t").get(keys.unique("kind"));
    for id in 0..REQUESTS {
        pipe.lrange(keys.response(&id_of(id)), 0, -1);
    }
    for worker in (0..WORKERS).map(worker_of) {
        pipe.zscore(keys.workers(), &worker).lrange(keys.inbox(&worker), 0, -1);
        // A small hash keeps the order in which it was written.
        pipe.hvals(keys.leases(&worker)).get(keys.poll(&worker));
        pipe.zscore(keys.lanes(), &worker);
        for number in 0..2 {
            pipe.lrange(keys.lane_inbox(&worker, number), 0, -1);
            pipe.get(keys.lane_poll(&worker, number));
        }
    }
    let values: Vec<Value> = pipe.query_async(&mut real.conn).await.unwrap();
    let mut values = values.into_iter();

    store.queue = elements(&mut values);
    store.parked = elements(&mut values);
    store.paused = next(&mut values);
    store.names_parked = next::<Vec<String>>(&mut values) == ["special"];
    store.mapped = next::<Option<f64>>(&mut values).is_some();
    let live: HashMap<String, String> = next(&mut values);
    // Padded, see `live.lua`.
    let live = live.into_iter().map(|(id, of)| (id, of.trim_end().to_owned()));
    let live: HashMap<String, String> = live.collect();
    let schedule: Vec<(String, f64)> = next(&mut values);
    let envelopes: HashMap<String, Vec<u8>> = next(&mut values);
    assert_eq!(schedule.len(), envelopes.len());
    for (id, due) in schedule {
        let id = element(&envelopes[&id]);
        if due < real.now() { store.due.push(id) } else { store.later.push(id) }
    }
    store.later.sort_unstable();
    store.tombstones = next::<Vec<String>>(&mut values).iter().map(|id| number_of(id)).collect();
    store.tombstones.sort_unstable();
    for (id, text) in next::<HashMap<String, String>>(&mut values) {
        store.records[usize::from(number_of(&id))] = Some(record(&text));
    }
    store.ticked = next::<Option<u64>>(&mut values).map_or(0, tick_of);
    let first = next::<Option<String>>(&mut values);
    store.first = first.map(|holder| number_of(holder.split(' ').next().unwrap()));
    for frames in &mut store.frames {
        let texts = next::<Vec<String>>(&mut values);
        *frames = texts.iter().map(|frame| frame.parse().unwrap()).collect();
    }
    for at in 0..usize::from(WORKERS) {
        store.holders[at] = holder(&mut values, real.now());
    }
    for (id, code) in real.letters().await {
        let id = if id.is_empty() { UNREADABLE } else { number_of(&id) };
        store.dead.push(Letter { id, invalid: code == "invalid_request" });
    }
    // The hash of live requests matches the leases.
    let leased: usize = store.holders.iter().map(|holder| holder.leases.len()).sum();
    let agrees =
        |(id, worker): (&String, &String)| store.live(number_of(id)) == Some(worker_number(worker));
    assert!(live.len() == leased && live.iter().all(agrees), "{live:?} of {store:?}");
    store
}

/// The keys of one worker; times before `now` have passed.
fn holder(values: &mut impl Iterator<Item = Value>, now: f64) -> Holder {
    let registered = match next::<Option<f64>>(values) {
        None => Registered::No,
        Some(ends) if ends < now => Registered::Ended,
        Some(_) => Registered::Alive,
    };
    let (inbox, leases) = (elements(values), elements(values));
    let poll = next::<Option<String>>(values).map(|poll| settlement(&poll));
    let lane = match next::<Option<f64>>(values) {
        None => LaneEntry::No,
        Some(until) if until < now => LaneEntry::Past,
        Some(_) => LaneEntry::Open,
    };
    let mut holder = Holder { registered, inbox, leases, poll, lane, ..Holder::default() };
    for number in 0..2 {
        holder.young[number] = elements(values);
        let record = next::<Option<String>>(values);
        holder.lane_polls[number] = record.map(|record| {
            let (inbox, poll) = record.split_once(' ').unwrap();
            assert_eq!(inbox, number.to_string());
            settlement(poll)
        });
    }
    holder
}

fn next<T: FromRedisValue>(values: &mut impl Iterator<Item = Value>) -> T {
    from_redis_value(values.next().unwrap()).unwrap()
}

fn elements(values: &mut impl Iterator<Item = Value>) -> Vec<Id> {
    next::<Vec<Vec<u8>>>(values).iter().map(|raw| element(raw)).collect()
}

fn settlement(poll: &str) -> (u8, Vec<SettleResult>) {
    let (serial, results) = poll.split_once(' ').unwrap();
    let results = results.chars().map(|result| match result {
        '1' => SettleResult::Yes,
        '0' => SettleResult::LeaseLost,
        'P' => SettleResult::Parked,
        'E' => SettleResult::Kept,
        other => panic!("{other} is not a result"),
    });
    (serial.parse().unwrap(), results.collect())
}

fn record(text: &str) -> Record {
    let record: redcall_store::Record = serde_json::from_str(text).unwrap();
    let small = |number: u32| u8::try_from(number).unwrap();
    let redcall_store::Record { attempt, fails, crashes } = record;
    Record { attempt: small(attempt), fails: small(fails), crashes: small(crashes) }
}
