//! What the benchmarks share: processes to measure, loads on them, and the page that comes of it.

pub(crate) mod disk;
pub(crate) mod echo;
#[allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "the tests' own issuer, of which this uses a part"
)]
#[path = "../../tests/common/issuer.rs"]
mod issuer;
pub(crate) mod known;
pub(crate) mod load;
#[allow(clippy::expect_used, unreachable_pub, reason = "what the tests have of it")]
#[path = "../../tests/common/other_process.rs"]
mod other_process;
pub(crate) mod process;
#[allow(
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "the tests' own server"
)]
#[path = "../../tests/common/redis_server.rs"]
pub(crate) mod redis_server;
pub(crate) mod report;
pub(crate) mod turns;
