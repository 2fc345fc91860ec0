//! Fixtures for the tests of all crates: private Redis servers, a proxy that breaks connections,
//! and the one place that polls.
//!
//! | file | holds |
//! |---|---|
//! | `servers/test_redis.rs` | [`TestRedis`]: a server per test, plain or with TLS |
//! | `clock.rs`, `clock.c` | a clock of its own for such a server |
//! | `servers/restartable.rs` | [`RestartableRedis`]: one that may be killed and keeps its data |
//! | `servers/replicated.rs` | [`ReplicatedRedis`]: a primary, its replica, and Sentinels |
//! | `free_port.rs` | ports for servers that cannot choose one |
//! | `servers/fake_sentinel.rs` | [`FakeSentinel`]: one whose replies a test sets |
//! | `certificates.rs` | [`Certificates`]: a private certificate authority, for it and for doors |
//! | `proxy.rs`, `proxy/` | [`FaultProxy`]: connections that a test can break |
//! | `raw_reader.rs` | [`RawReader`]: reads lists with plain commands |
//! | `eventually.rs` | [`eventually()`] |
//! | `unhex.rs` | [`unhex()`]: recorded bytes |
//! | `example.rs` | the setup of documentation examples; feature `example` |
//!
//! For tests and for the crate `chaos`, which needs the proxy. Fixtures panic instead of returning
//! errors, since a test cannot handle them. Code that programs need to run is elsewhere.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture that cannot be made fails its test, and says why by panicking"
)]

mod certificates;
#[cfg(target_os = "linux")]
mod clock;
mod eventually;
#[cfg(feature = "example")]
pub mod example;
mod free_port;
mod proxy;
mod raw_reader;
/// Private servers.
mod servers {
    pub(crate) mod fake_sentinel;
    pub(crate) mod replicated;
    pub(crate) mod restartable;
    pub(crate) mod test_redis;
}
mod unhex;

pub use certificates::Certificates;
pub use eventually::eventually;
pub use proxy::{Exchange, FaultProxy, Held, HeldRequest, Odds};
pub use raw_reader::RawReader;
/// The driver in the version that [`TestRedis::connection`] speaks, so that tests of other crates
/// can send plain commands without depending on it.
pub use redis;
pub use servers::fake_sentinel::FakeSentinel;
pub use servers::replicated::ReplicatedRedis;
pub use servers::restartable::RestartableRedis;
pub use servers::test_redis::TestRedis;
pub use unhex::unhex;
