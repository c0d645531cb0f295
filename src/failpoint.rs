//! Named points of the product where a test stops it, to kill it there. Nothing of this is in a build without the feature
//! `failpoints`.
//!
//! `FAILPOINT=NAME` in the environment arms a point, `FAILPOINT=NAME=N` for the Nth time that it is passed. Whoever
//! reaches it says `failpoint NAME` on standard output and goes no further.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{is_armed, pass, say};

/// A point that a test may stop at. Expands to nothing without the feature `failpoints`.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::pass($name);
    };
}
