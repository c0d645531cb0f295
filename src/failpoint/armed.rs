//! The points themselves.

use std::{
    io::Write as _,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// The point that is armed, and how often it is still to be passed.
static ARMED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch for tests is no configuration, and this is compiled for tests only"
    )]
    let text = std::env::var("FAILPOINT").ok()?;
    let (name, times) = text.split_once('=').unwrap_or((text.as_str(), "1"));
    Some((name.to_owned(), AtomicU32::new(times.parse().unwrap_or(1))))
});

/// Returns whether this point is the one that is armed.
#[must_use]
pub fn is_armed(name: &str) -> bool {
    ARMED.as_ref().is_some_and(|(armed, _)| armed == name)
}

/// Says that the point was reached.
pub fn say(name: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "failpoint {name}");
    let _ = out.flush();
}

/// Passes the point, or stays there for good. A thread of the runtime that stays leaves the others to go on.
pub fn pass(name: &str) {
    let Some((_, left)) = ARMED.as_ref().filter(|(armed, _)| armed == name) else {
        return;
    };
    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
        say(name);
        loop {
            thread::park();
        }
    }
}
