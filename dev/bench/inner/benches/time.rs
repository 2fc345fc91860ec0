//! Durations of the inner parts of a call: `cargo bench --package redcall-bench-inner`.
//!
//! For work on the speed of a part. `cargo xtask instructions` guards all of them against
//! slowdowns: it counts the instructions of the same parts.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use redcall_bench_inner::calls::{Batch, Calls, Elements, With};
use redcall_bench_inner::polls::{self, Answers, FAILED_ONCE, Leases, OutcomeKind, WorkerPoll};
use redcall_bench_inner::waits::{Announcement, Callers, Frames};

fn calls(criterion: &mut Criterion) {
    for (name, with) in With::ALL {
        let calls = Calls::new(with);
        bench(criterion, &format!("envelope_encode/{name}"), |b| b.iter(|| calls.encode()));
    }
    for (name, with) in With::ALL {
        let elements = Elements::new(with);
        bench(criterion, &format!("envelope_decode/{name}"), |b| b.iter(|| elements.decode()));
    }
    let batch = Batch::new();
    bench(criterion, "enqueue_command/waited", |b| b.iter(|| batch.command()));
}

fn polls(criterion: &mut Criterion) {
    let answers = Answers::new();
    bench(criterion, "frame_encode/result", |b| b.iter(|| answers.encode()));
    for (name, kind) in OutcomeKind::ALL {
        let poll = WorkerPoll::new(kind);
        bench(criterion, &format!("poll_command/{name}"), |b| b.iter(|| poll.command()));
    }
    for (name, record) in [("first", ""), ("again", FAILED_ONCE)] {
        let leases = Leases::new(record);
        bench(criterion, &format!("poll_reply/{name}"), |b| {
            b.iter_batched(|| leases.parse(), polls::read, BatchSize::SmallInput);
        });
    }
    let leases = Leases::new("");
    bench(criterion, "poll_reply_parse/first", |b| b.iter(|| leases.parse()));
}

fn waits(criterion: &mut Criterion) {
    let frames = Frames::new();
    bench(criterion, "frame_parse/result", |b| b.iter(|| frames.parse()));
    bench(criterion, "waiters_register/batch", |b| {
        b.iter_batched_ref(Callers::new, Callers::register, BatchSize::SmallInput);
    });
    let announcement = Announcement::new();
    bench(criterion, "answers_route/batch", |b| {
        let receive = |callers: &mut Callers| callers.receive(&announcement);
        b.iter_batched_ref(Callers::waiting, receive, BatchSize::SmallInput);
    });
}

/// Measures one part: per batch, and how many calls per second that would be.
fn bench(criterion: &mut Criterion, name: &str, run: impl FnMut(&mut criterion::Bencher<'_>)) {
    let mut group = criterion.benchmark_group("inner");
    group.throughput(Throughput::Elements(redcall_bench_inner::BATCH as u64));
    group.bench_function(name, run);
    group.finish();
}

criterion_group!(benches, calls, polls, waits);
criterion_main!(benches);
