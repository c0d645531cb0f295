//! The facade with everything on, as it is measured here.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use prost::Message;
use tempfile::TempDir;

use crate::{
    common::{known::Known, load, process::Process, report::Page},
    side::CONNECTIONS,
};

/// The files that every facade reads, and the folder of those that it writes.
pub(crate) struct Setting {
    folder: TempDir,
    known: Known,
}

impl Setting {
    pub(crate) fn prepare() -> Self {
        // Not in /tmp, which is memory on many machines: the disk is part of what is measured.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let known = Known::in_folder(folder.path());
        Self { folder, known }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What callers show. All sides get it, so that all read as much.
    pub(crate) fn token(&self) -> &str {
        &self.known.token
    }

    /// A file of the store, which is made when it is opened.
    pub(crate) fn database(&self, name: &str) -> String {
        let path = self.folder.path().join(name).with_extension("sqlite");
        path.to_str().unwrap().to_owned()
    }

    /// Starts a facade with everything on, in front of `ram`.
    pub(crate) fn facade(&self, name: &str, store: &str, ram: &str) -> Process {
        self.facade_with("", name, store, ram)
    }

    /// The same with more lines of configuration.
    pub(crate) fn facade_with(&self, more: &str, name: &str, store: &str, ram: &str) -> Process {
        let config = self.folder.path().join(name).with_extension("toml");
        let audit = self.audit(name);
        // 512 calls in flight on a busy machine may keep Redis from the processor for longer than the default second.
        let text = format!(
            "listen = \"127.0.0.1:0\"\nstore = \"{store}\"\n\
             [audit]\nfile = \"{}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
             [ram]\nendpoint = \"{ram}\"\naccount = \"111122223333\"\n\
             [connections]\nmax = 4000\nper_ip = 4000\n\
             [redis]\nresponse_timeout_ms = 10000\n{more}",
            audit.display()
        );
        fs::write(&config, text).unwrap();
        let config = ["serve", "--config", config.to_str().unwrap()];
        Process::facade(&[&config[..], &self.known.flags()].concat())
    }

    /// Forgets what a facade has put on record, which would fill the disk.
    pub(crate) fn truncate_audit(&self, name: &str) {
        let file = OpenOptions::new().write(true).open(self.audit(name));
        file.unwrap().set_len(0).unwrap();
    }

    fn audit(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("audit.jsonl")
    }
}

pub(crate) fn describe(page: &mut Page) {
    let bytes = load::request("64-10-32-1000").encoded_len();
    page.text(
        "What is compared",
        &format!(
            "* **echo**: a service of the same method on tonic's own server that answers the same message.\n\
             * **direct**: what a team would write by hand. A tonic handler that calls RAM through `aws-sdk-ram` and maps the answer\n  \
             ([direct.rs](../../benches/cost/direct.rs)): no authentication, no policy, no idempotency, no repetition, no record.\n\
             * **facade**: `ram-facade serve` with everything on: a JWT (RS256), two Cedar policies, an audit log in a file, the log \
             at `info`\n  (to /dev/null), metrics, retries, pacing (at 10,000 a second, which is no limit here), and its records in \
             memory (`:memory:`),\n  in a SQLite file (`synchronous=FULL`) or in Redis (`appendonly yes`, `appendfsync everysec`).\n\
             \n\
             All are processes of their own, in plaintext, with the same request: some {bytes} bytes, a JWT in its metadata, under a \
             fresh token\nand name each, so that no policy decision is remembered. A RAM that answers every request with the same share \
             is a process of its own, too;\nthe SDK's retries are off on both sides. Creates are made by a client in tonic, because \
             each needs a token of its own\nand h2load sends one body; without a token nothing would be recorded. Replays and echoes \
             are made by h2load.\nThe processor time is the server's own, system calls included (ticks of 10 ms in `/proc/PID/stat`); \
             memory is what is resident\nat the end of a turn. Calls in flight are spread over at most {CONNECTIONS} connections."
        ),
    );
}
