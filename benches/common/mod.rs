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
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod turns;
