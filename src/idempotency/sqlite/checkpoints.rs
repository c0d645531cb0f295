//! Checkpoints without end, for a test that kills the process in one of them. SQLite lets nobody stop inside.

use rusqlite::Connection;

use crate::failpoint;

/// If the point `checkpoint` is armed and there is a record: says so, then writes every record as it is and checkpoints,
/// again and again, for good.
pub(super) fn run_if_armed(connection: &Connection) {
    if !failpoint::is_armed("checkpoint") {
        return;
    }
    let rewrite = "BEGIN; UPDATE record SET version = version, bytes = bytes; COMMIT";
    let records = connection.query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0));
    if !records.is_ok_and(|records| records > 0) {
        return;
    }
    failpoint::say("checkpoint");
    loop {
        drop(connection.execute_batch(rewrite));
        drop(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    }
}
