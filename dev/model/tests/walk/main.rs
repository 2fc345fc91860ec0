//! Random moves on a real Redis, by the calls that workers and clients use; the same moves on the
//! model's store; after each the two are compared.
//!
//! A walk that fails prints its seed and its moves. `REDCALL_MODEL_SEED` walks that one alone,
//! `REDCALL_MODEL_WALKS` changes how many there are.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot tell")]

mod failing;
mod moves;
mod real;
mod seen;

use std::time::{Duration, Instant};

use failing::Broken;
use fastrand::Rng;
use moves::Move;
use real::Real;
use redcall_model::store::Store;

/// How many workers and requests there are.
const WORKERS: u8 = 3;
const REQUESTS: u8 = 6;
/// How many moves a walk has.
const MOVES: usize = 40;
/// The default number of walks, and their time limit.
const WALKS: u64 = 400;
const FAILING_WALKS: u64 = 300;
const LONGEST: Duration = Duration::from_secs(20);

async fn walk(real: &mut Real, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut model = Store::new(WORKERS.into(), REQUESTS.into());
    let mut made: Vec<Move> = Vec::new();
    real.clear().await;
    for _ in 0..MOVES {
        let next = Move::random(&mut rng, &model);
        made.push(next.clone());
        let by_model = next.on_model(&mut model);
        let by_redis = next.on_redis(real).await;
        let moves: Vec<String> = made.iter().map(|made| format!("{made:?}\n")).collect();
        let at = format!("REDCALL_MODEL_SEED={seed}, after\n{}", moves.concat());
        assert_eq!(by_redis, by_model, "Redis (left) replies otherwise than the model: {at}");
        let seen = seen::read(real).await;
        assert_eq!(seen, model, "Redis holds (left) something else than the model: {at}");
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, it is `{text}`")))
}

async fn walks(max: u64, walk: impl AsyncFn(&mut Real, u64)) {
    let mut real = Real::new().await;
    if let Some(seed) = number("REDCALL_MODEL_SEED") {
        return walk(&mut real, seed).await;
    }
    let (walks, begun) = (number("REDCALL_MODEL_WALKS"), Instant::now());
    let first = fastrand::u64(..u64::MAX / 2);
    let mut done = 0;
    while done < walks.unwrap_or(max) && (walks.is_some() || begun.elapsed() < LONGEST) {
        walk(&mut real, first + done).await;
        done += 1;
    }
    println!("{done} walks of up to {MOVES} moves in {:.1?}", begun.elapsed());
}

#[tokio::test]
async fn every_script_matches_the_model() {
    walks(WALKS, walk).await;
}

/// A walk whose last move fails: every request is still there or has ended.
async fn failing_walk(real: &mut Real, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut model = Store::new(WORKERS.into(), REQUESTS.into());
    let mut made: Vec<String> = Vec::new();
    real.clear().await;
    // A walk has one failing move: the shorter it is, the more of them there are.
    let moves = rng.usize(3..MOVES / 2);
    let last = loop {
        let next = Move::random(&mut rng, &model);
        if made.len() >= moves && failing::moves_requests(&next) {
            break next;
        }
        made.push(format!("{next:?}\n"));
        let by_model = next.on_model(&mut model);
        assert_eq!(next.on_redis(real).await, by_model);
    };
    let broken = Broken::random(&mut rng, real);
    let lost = failing::lost(real, &model, &last, &broken).await;
    let at =
        format!("REDCALL_MODEL_SEED={seed}, {last:?} with {broken:?}, after\n{}", made.concat());
    assert_eq!(lost, "", "a script that failed has lost a request: {at}");
}

#[tokio::test]
async fn failing_script_loses_no_request() {
    walks(FAILING_WALKS, failing_walk).await;
}
