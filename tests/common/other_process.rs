//! What is done with a process that is not ours: signals, and waiting for what it does.

use std::{process::Command, time::Duration};

/// Sends a signal by the shell's own `kill`: the program of that name is in no minimal system.
pub fn send_signal(process: u32, signal: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill $0 $1", signal, &process.to_string()])
        .status();
    assert!(status.expect("every system has a shell").success());
}

/// Waits until `condition` holds; the tests' only way of waiting for another process.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
