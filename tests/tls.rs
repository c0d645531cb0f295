//! TLS end to end: a real server, and certificates that are really made.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs,
    os::unix::fs::symlink,
    process::Command,
    sync::{Arc, RwLock},
    time::Duration,
};

use common::{
    Client, Process,
    certificates::{Authority, Dial, Files, Identity, Leaf, set_mode},
    load::Load,
    refusal, request, start, until,
};
use prost::Message;
use ram_facade::{
    config::{Config, Sources},
    pb::v1::ListResourceTypesRequest,
    server::Server,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tonic::{Code, Status};

const ALICE: &str = "spiffe://prod.example/ns/net/sa/alice";

/// A server with its files, and everybody who vouches for somebody.
struct Fixture {
    files: Files,
    /// Vouches for the server.
    public: Authority,
    /// Vouches for clients.
    private: Authority,
    server: Server,
}

/// What differs from a server that requires certificates of `prod.example`.
type Keys<'a> = &'a [(&'static str, &'a str)];

impl Fixture {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(keys: Keys<'_>) -> Self {
        let files = Files::new();
        let (public, private) = (Authority::new("public"), Authority::new("private"));
        files.identity(&public.issue(Leaf::server()));
        files.write("clients.crt", private.pem());
        files.write("clients.crl", &private.list(&[]));
        let [certificate, key, clients] = ["tls.crt", "tls.key", "clients.crt"].map(|name| files.text(name));
        let mut all = vec![
            ("tls.certificate_file", certificate.as_str()),
            ("tls.key_file", &key),
            ("tls.client_ca_file", &clients),
            ("tls.poll_interval_ms", "10"),
            // Some of the tests send as fast as they can.
            ("limits.per_second", "0"),
            ("auth.certificate.trust_domains", "prod.example"),
            ("auth.certificate.dns_names", "client.example.com"),
        ];
        let list = files.text("clients.crl");
        for (key, value) in keys {
            all.push((*key, if *value == "clients.crl" { &list } else { value }));
        }
        let server = start(&all).await;
        Self {
            files,
            public,
            private,
            server,
        }
    }

    async fn revoking() -> Self {
        Self::with(&[("tls.crl_file", "clients.crl")]).await
    }

    fn client(&self, names: &[&str]) -> Identity {
        self.private.issue(Leaf::client(names))
    }

    fn dial(&self, identity: Option<&Identity>) -> Dial {
        Dial::new(self.server.address(), &self.public, identity)
    }

    async fn connect(&self, identity: &Identity) -> Client {
        self.dial(Some(identity)).client().await.expect("it gets in")
    }

    /// What a call by somebody with this certificate is answered.
    async fn reason(&self, identity: Option<&Identity>) -> String {
        let mut client = self.dial(identity).client().await.expect("it gets in");
        let status = client.create(request("share", "t")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        refusal(&status).reason
    }
}

async fn list(client: &mut Client) -> Result<(), Status> {
    let listed = client
        .list_resource_types(ListResourceTypesRequest::default())
        .await?;
    assert!(!listed.get_ref().resource_types.is_empty());
    Ok(())
}

// === Who gets a connection ===

#[tokio::test]
async fn a_client_with_a_certificate_is_served_over_tls() {
    let fixture = Fixture::start().await;
    let mut client = fixture.connect(&fixture.client(&[ALICE])).await;

    let created = client.create(request("share", "t")).await.unwrap();

    assert!(common::arn(&created).starts_with("arn:aws:ram:"));
}

#[tokio::test]
async fn tls_1_2_is_the_oldest_that_is_spoken() {
    let fixture = Fixture::start().await;
    let alice = fixture.client(&[ALICE]);
    let old = |identity| {
        let versions = &[&rustls::version::TLS12];
        Dial::of(versions, fixture.server.address(), &fixture.public, identity)
    };

    list(&mut old(Some(&alice)).client().await.unwrap())
        .await
        .unwrap();
    let nobody = old(None).refusal().await;
    assert!(
        nobody.contains("CertificateRequired") || nobody.contains("HandshakeFailure"),
        "{nobody}"
    );
}

#[tokio::test]
async fn no_session_is_resumed_past_the_look_at_a_certificate() {
    let fixture = Fixture::start().await;
    let alice = fixture.client(&[ALICE]);
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        // Its clients share what they remember of sessions.
        let dial = Dial::of(versions, fixture.server.address(), &fixture.public, Some(&alice));
        list(&mut dial.client().await.unwrap()).await.unwrap();

        let again = dial.stream().await.unwrap();

        let kind = again.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(rustls::HandshakeKind::Full), "{versions:?}");
    }
}

#[tokio::test]
async fn a_server_that_asks_for_no_certificates_encrypts_all_the_same() {
    let files = Files::new();
    let public = Authority::new("public");
    files.identity(&public.issue(Leaf::server()));
    let server = start(&[
        ("tls.certificate_file", &files.text("tls.crt")),
        ("tls.key_file", &files.text("tls.key")),
    ])
    .await;

    let mut client = Dial::new(server.address(), &public, None).client().await.unwrap();

    list(&mut client).await.unwrap();
}

#[tokio::test]
async fn certificates_that_are_not_good_are_refused_with_the_alert_for_it() {
    let fixture = Fixture::revoking().await;
    let leaf = || Leaf::client(&[ALICE]);
    let revoked = fixture.client(&[ALICE]);
    fixture
        .files
        .write("clients.crl", &fixture.private.list(&[&revoked]));
    until("the list is read", async || {
        fixture
            .dial(Some(&revoked))
            .refusal()
            .await
            .contains("CertificateRevoked")
    })
    .await;

    for (identity, alert) in [
        (
            fixture.private.issue(leaf().valid(-7_200, -60)),
            "CertificateExpired",
        ),
        (
            fixture.private.issue(leaf().valid(3_600, 7_200)),
            "CertificateExpired",
        ),
        (Authority::new("another").issue(leaf()), "UnknownCA"),
        // Has the right name, and another key.
        (Authority::new("private").issue(leaf()), "DecryptError"),
        (fixture.public.issue(leaf()), "UnknownCA"),
        (
            fixture.private.issue(leaf().for_servers_only()),
            "UnsupportedCertificate",
        ),
        (revoked, "CertificateRevoked"),
    ] {
        let refusal = fixture.dial(Some(&identity)).refusal().await;
        assert!(refusal.contains(alert), "{alert}: {refusal}");
    }
    let nobody = fixture.dial(None).refusal().await;
    assert!(nobody.contains("CertificateRequired"), "{nobody}");
}

#[tokio::test]
async fn an_expired_list_of_revoked_certificates_refuses_every_client() {
    let fixture = Fixture::revoking().await;
    let alice = fixture.client(&[ALICE]);
    list(&mut fixture.connect(&alice).await).await.unwrap();

    fixture
        .files
        .write("clients.crl", &fixture.private.list_until(&[], -60));

    until("the list is read", async || {
        fixture
            .dial(Some(&alice))
            .refusal()
            .await
            .contains("received fatal alert")
    })
    .await;
}

#[tokio::test]
async fn a_client_that_offers_no_http2_is_closed() {
    // So that it is not the silence which ends the connection.
    let fixture = Fixture::with(&[("connections.preface_timeout_ms", "60000")]).await;
    let alice = fixture.client(&[ALICE]);

    let http1 = fixture.dial(Some(&alice)).offers(&[b"http/1.1"]).refusal().await;
    let nothing = fixture.dial(Some(&alice)).offers(&[]).refusal().await;

    assert!(http1.contains("NoApplicationProtocol"), "{http1}");
    assert_eq!(nothing, "closed");
}

/// The rest of what the server says, in bytes.
async fn answer(fixture: &Fixture, greeting: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(fixture.server.address()).await.unwrap();
    stream.write_all(greeting).await.unwrap();
    let mut rest = Vec::new();
    let reading = stream.read_to_end(&mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading)
        .await
        .expect("the server closes");
    rest
}

/// A record with a ClientHello that offers this version and no later one.
fn hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session, two suites of that time, no compression.
    body.extend([0, 0, 4, 0xc0, 0x13, 0xc0, 0x2f, 1, 0]);
    // Signature algorithms, groups.
    let extensions = [0, 13, 0, 4, 0, 2, 4, 3, 0, 10, 0, 4, 0, 2, 0, 23];
    body.extend([0, 16]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length], body.as_slice()].concat()
}

#[tokio::test]
async fn tls_before_1_2_is_refused() {
    let fixture = Fixture::start().await;
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;

    for version in [[3, 1], [3, 2]] {
        let answer = answer(&fixture, &hello(version)).await;
        assert_eq!(
            (answer[0], answer.last()),
            (ALERT, Some(&PROTOCOL_VERSION)),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn plaintext_is_refused() {
    let fixture = Fixture::start().await;

    let answer = answer(&fixture, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;

    assert!(answer.len() < 8, "an alert at most: {answer:?}");
    let mut client = common::connect(fixture.server.address()).await;
    assert_eq!(list(&mut client).await.unwrap_err().code(), Code::Unknown);
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_closed_in_time() {
    let fixture = Fixture::with(&[("tls.handshake_timeout_ms", "200")]).await;
    let half = &hello([3, 3])[..20];

    for greeting in [b"" as &[u8], half] {
        let began = Instant::now();
        assert_eq!(answer(&fixture, greeting).await, b"");
        assert!(
            began.elapsed() >= Duration::from_millis(200),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_handshake_under_way_does_not_keep_the_server_from_stopping() {
    let Fixture { server, .. } = Fixture::start().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(&hello([3, 3])[..20]).await.unwrap();
    // Answered by another connection, so that the first is surely accepted.
    let _ = TcpStream::connect(server.address()).await.unwrap();

    let began = Instant::now();
    server.stop().await;

    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

// === Who a certificate names ===

#[tokio::test]
async fn two_callers_have_client_tokens_of_their_own() {
    let fixture = Fixture::start().await;
    let mut arns = Vec::new();
    for name in [ALICE, ALICE, "spiffe://prod.example/bob", "client.example.com"] {
        // Another certificate each time, as after a renewal.
        let mut client = fixture.connect(&fixture.client(&[name])).await;
        arns.push(common::arn(
            &client.create(request("share", "same")).await.unwrap(),
        ));
    }

    assert_eq!(arns[0], arns[1]);
    arns.dedup();
    assert_eq!(arns.len(), 3);
}

#[tokio::test]
async fn a_good_certificate_that_names_nobody_is_unauthenticated() {
    let fixture = Fixture::start().await;

    for names in [
        &["spiffe://prod.example/a", "spiffe://prod.example/b"] as &[&str],
        &["spiffe://foreign.example/a"],
        &["unlisted.example.com"],
        &[],
    ] {
        let identity = fixture.client(names);
        assert_eq!(
            fixture.reason(Some(&identity)).await,
            "CREDENTIALS_INVALID",
            "{names:?}"
        );
    }
}

#[tokio::test]
async fn optional_certificates_are_missed_only_when_a_call_needs_one() {
    let fixture = Fixture::with(&[("tls.client_certificates", "optional")]).await;

    assert_eq!(fixture.reason(None).await, "CREDENTIALS_MISSING");
    list(&mut fixture.connect(&fixture.client(&[ALICE])).await)
        .await
        .unwrap();
    let expired = fixture.private.issue(Leaf::client(&[ALICE]).valid(-7_200, -60));
    let refusal = fixture.dial(Some(&expired)).refusal().await;
    assert!(refusal.contains("CertificateExpired"), "{refusal}");
}

// === What changes while the server runs ===

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let fixture = Fixture::with(&[("tls.client_certificates", "optional")]).await;
    let old = fixture.dial(None).shown().await;
    let mut open = fixture.connect(&fixture.client(&[ALICE])).await;
    let new = fixture.public.issue(Leaf::server());

    // The new certificate beside the old key, no key, a key that everybody can read, and garbage.
    fixture.files.write("tls.crt", &new.certificate_pem);
    not_taken(&fixture, &old).await;
    fs::remove_file(fixture.files.path("tls.key")).unwrap();
    not_taken(&fixture, &old).await;
    set_mode(&fixture.files.write("tls.key", &new.key_pem), 0o644);
    not_taken(&fixture, &old).await;
    fixture.files.write("tls.key", "garbage");
    not_taken(&fixture, &old).await;

    fixture.files.identity(&new);
    shows(&fixture, &new).await;
    list(&mut open).await.unwrap();
}

async fn shows(fixture: &Fixture, identity: &Identity) {
    until("the new certificate is shown", async || {
        fixture.dial(None).shown().await == identity.certificate
    })
    .await;
}

/// Looks for the time of several polls.
async fn not_taken(fixture: &Fixture, old: &rustls::pki_types::CertificateDer<'static>) {
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(&fixture.dial(None).shown().await, old);
    }
}

#[tokio::test]
async fn a_swapped_link_is_followed_as_kubernetes_swaps_it() {
    let files = Files::new();
    let public = Authority::new("public");
    let (old, new) = (public.issue(Leaf::server()), public.issue(Leaf::server()));
    for (folder, identity) in [("1", &old), ("2", &new)] {
        fs::create_dir(files.path(folder)).unwrap();
        files.write(&format!("{folder}/tls.crt"), &identity.certificate_pem);
        files.write(&format!("{folder}/tls.key"), &identity.key_pem);
    }
    symlink("1", files.path("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), files.path(name)).unwrap();
    }
    let server = start(&[
        ("tls.certificate_file", &files.text("tls.crt")),
        ("tls.key_file", &files.text("tls.key")),
        ("tls.poll_interval_ms", "10"),
    ])
    .await;
    let dial = Dial::new(server.address(), &public, None);
    assert_eq!(dial.shown().await, old.certificate);

    // There and back again: the first swap may be seen by the look at the start.
    for (folder, identity) in [("2", &new), ("1", &old), ("2", &new)] {
        symlink(folder, files.path("..data_tmp")).unwrap();
        fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
        until("the other certificate is shown", async || {
            dial.shown().await == identity.certificate
        })
        .await;
    }
}

#[tokio::test]
async fn a_hangup_reads_the_files_at_once() {
    let (files, public) = (Files::new(), Authority::new("public"));
    files.identity(&public.issue(Leaf::server()));
    let program = Process::start(
        &["serve", "--sandbox", "--listen", "127.0.0.1:0"],
        &[
            ("RAM_FACADE_TLS_CERTIFICATE_FILE", &files.text("tls.crt")),
            ("RAM_FACADE_TLS_KEY_FILE", &files.text("tls.key")),
            ("RAM_FACADE_TLS_POLL_INTERVAL_MS", "3600000"),
        ],
    );
    let dial = Dial::new(program.address(), &public, None);

    // The first may be seen by the look at the start, which is the only one of this hour.
    for _ in 0..2 {
        let new = public.issue(Leaf::server());
        files.identity(&new);
        program.signal("-HUP");
        until("the new certificate is shown", async || {
            dial.shown().await == new.certificate
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_certificate_authority_and_list_are_replaced() {
    let fixture = Fixture::revoking().await;
    let address = fixture.server.address();
    let alice = fixture.client(&[ALICE]);
    let dial = Arc::new(RwLock::new(Dial::new(address, &fixture.public, Some(&alice))));
    let load = Load::start(8, {
        let dial = Arc::clone(&dial);
        move || {
            let now = dial.read().unwrap().clone();
            async move {
                let mut client = now.client().await.expect("every handshake succeeds");
                for _ in 0..5 {
                    list(&mut client).await.expect("every call succeeds");
                }
            }
        }
    });
    // Every client finishes with its connection and makes at least one from what is there now.
    let turn = || load.go_on_for(32);
    turn().await;

    let certificate = fixture.public.issue(Leaf::server());
    fixture.files.identity(&certificate);
    until("the new certificate is shown", async || {
        Dial::new(address, &fixture.public, Some(&alice)).shown().await == certificate.certificate
    })
    .await;
    turn().await;

    // The lists first: an authority without one is not taken over.
    let next = Authority::new("next");
    let both = |file: &str, old: &str, new: &str| fixture.files.write(file, &format!("{old}{new}"));
    both("clients.crl", &fixture.private.list(&[]), &next.list(&[]));
    both("clients.crt", fixture.private.pem(), next.pem());
    let renewed = next.issue(Leaf::client(&[ALICE]));
    let renewed_dial = Dial::new(address, &fixture.public, Some(&renewed));
    until("the new authority is believed", async || {
        works(&renewed_dial).await
    })
    .await;
    *dial.write().unwrap() = renewed_dial.clone();
    turn().await;

    let stolen = next.issue(Leaf::client(&[ALICE]));
    fixture.files.write("clients.crt", next.pem());
    fixture.files.write("clients.crl", &next.list(&[&stolen]));
    let refused = async |identity| {
        Dial::new(address, &fixture.public, Some(identity))
            .refusal()
            .await
    };
    until("the old authority is not believed", async || {
        refused(&alice).await.contains("UnknownCA") && refused(&stolen).await.contains("CertificateRevoked")
    })
    .await;
    turn().await;

    load.stop().await;
    assert_eq!(renewed_dial.shown().await, certificate.certificate);
}

async fn works(dial: &Dial) -> bool {
    match dial.client().await {
        Ok(mut client) => list(&mut client).await.is_ok(),
        Err(_) => false,
    }
}

// === Connections whose certificate is not good any more ===

/// A client that writes frames by hand: it stays where a polite one goes.
struct Rude(tokio_rustls::client::TlsStream<TcpStream>);

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

impl Rude {
    async fn connect(dial: &Dial) -> Self {
        let mut client = Self(dial.stream().await.unwrap());
        client
            .0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        client.frame(SETTINGS, 0, 0, &[]).await;
        client
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        let head = [0, 0, length, kind, flags, 0, 0, 0, stream];
        self.0.write_all(&[&head, payload].concat()).await.unwrap();
    }

    /// The flags of the next frame of this kind on this stream.
    async fn next(&mut self, kind: u8, stream: u8) -> u8 {
        let reading = async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.expect("the connection lives");
                let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                self.0.read_exact(&mut payload).await.unwrap();
                if (head[3], head[8]) == (kind, stream) {
                    return head[4];
                }
            }
        };
        // Half of the time after which a connection looks by itself.
        tokio::time::timeout(Duration::from_secs(5), reading)
            .await
            .expect("the frame comes")
    }

    /// Calls `Create`, and returns whether it is refused: whether the first headers are the whole answer.
    async fn is_refused(&mut self, stream: u8, token: &str) -> bool {
        // POST, https; `:path`, `content-type` and `te` as literals.
        let mut block = vec![0x83, 0x87];
        let mut literal = |name: &[u8], value: &str| {
            block.extend(name);
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.as_bytes());
        };
        literal(&[0x04], common::raw::CREATE);
        literal(&[0x0f, 0x10], "application/grpc");
        literal(b"\0\x02te", "trailers");
        const END_HEADERS: u8 = 4;
        self.frame(HEADERS, END_HEADERS, stream, &block).await;
        let message = common::raw::frame(&request("share", token).encode_to_vec());
        self.frame(DATA, END_STREAM, stream, &message).await;
        self.next(HEADERS, stream).await & END_STREAM != 0
    }
}

#[tokio::test]
async fn a_revoked_caller_is_refused_on_the_connection_that_it_has() {
    let fixture = Fixture::revoking().await;
    let (alice, bob) = (
        fixture.client(&[ALICE]),
        fixture.client(&["spiffe://prod.example/bob"]),
    );
    let mut rude = Rude::connect(&fixture.dial(Some(&alice))).await;
    assert!(!rude.is_refused(1, "before").await);
    let mut others = fixture.connect(&bob).await;

    fixture
        .files
        .write("clients.crl", &fixture.private.list(&[&alice]));

    // Asked to go, it stays.
    rude.next(GOAWAY, 0).await;
    assert!(rude.is_refused(3, "after").await);
    let executions = fixture.server.sandbox().unwrap().stats().executions;
    assert_eq!(executions["CreateResourceShare"], 1);
    list(&mut others).await.expect("others stay");
}

#[tokio::test]
async fn a_caller_whose_authority_is_dropped_is_asked_to_go() {
    let fixture = Fixture::start().await;
    let alice = fixture.client(&[ALICE]);
    let mut rude = Rude::connect(&fixture.dial(Some(&alice))).await;
    assert!(!rude.is_refused(1, "before").await);

    fixture.files.write("clients.crt", Authority::new("next").pem());

    rude.next(GOAWAY, 0).await;
    assert!(rude.is_refused(3, "after").await);
}

#[tokio::test]
async fn a_certificate_that_ends_ends_its_connection_before() {
    let fixture = Fixture::start().await;
    let brief = fixture.private.issue(Leaf::client(&[ALICE]).valid(-60, 3));
    let mut rude = Rude::connect(&fixture.dial(Some(&brief))).await;
    assert!(!rude.is_refused(1, "before").await);

    // Nine tenths into what is left of it, so that a client comes back with a new one in time.
    rude.next(GOAWAY, 0).await;
    assert!(!rude.is_refused(3, "still").await);

    until("it is over", async || {
        fixture
            .dial(Some(&brief))
            .refusal()
            .await
            .contains("CertificateExpired")
    })
    .await;
    assert!(rude.is_refused(5, "after").await);
}

// === What is wrong with the files at start ===

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start_with_key_file_and_rule() {
    let files = Files::new();
    let (public, private) = (Authority::new("public"), Authority::new("private"));
    let (own, other) = (public.issue(Leaf::server()), public.issue(Leaf::server()));
    files.identity(&own);
    files.write("other.key", &other.key_pem);
    set_mode(&files.write("open.key", &own.key_pem), 0o644);
    files.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    files.write("empty.pem", "");
    files.write(
        "torn.crt",
        &own.certificate_pem.replace("-----END CERTIFICATE-----", ""),
    );
    files.write(
        "garbage.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    files.write(
        "garbage.crl",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    files.write("clients.crt", private.pem());
    files.write("both.crt", &format!("{}{}", private.pem(), public.pem()));
    files.write("clients.crl", &private.list(&[]));

    for (key, file, rule) in [
        ("tls.certificate_file", "absent.pem", "cannot read"),
        (
            "tls.certificate_file",
            "empty.pem",
            "holds no PEM block `CERTIFICATE`",
        ),
        (
            "tls.certificate_file",
            "tls.key",
            "holds no PEM block `CERTIFICATE`",
        ),
        ("tls.certificate_file", "torn.crt", "missing section end marker"),
        ("tls.certificate_file", "garbage.crt", "block 1"),
        ("tls.key_file", "absent.pem", "cannot read"),
        ("tls.key_file", "other.key", "is not the key of the certificate"),
        ("tls.key_file", "open.key", "has mode 0644; make it 0600"),
        (
            "tls.key_file",
            "encrypted.key",
            "holds no PEM block `PRIVATE KEY`",
        ),
        ("tls.key_file", "tls.crt", "holds no PEM block `PRIVATE KEY`"),
        ("tls.client_ca_file", "absent.pem", "cannot read"),
        (
            "tls.client_ca_file",
            "empty.pem",
            "holds no PEM block `CERTIFICATE`",
        ),
        ("tls.client_ca_file", "garbage.crt", "block 1"),
        ("tls.crl_file", "absent.pem", "cannot read"),
        ("tls.crl_file", "clients.crt", "holds no PEM block `X509 CRL`"),
        ("tls.crl_file", "garbage.crl", "block 1"),
        (
            "tls.client_ca_file",
            "both.crt",
            "no list of the authority in block 2",
        ),
    ] {
        let mut flags: std::collections::BTreeMap<_, _> = [
            ("tls.certificate_file", "tls.crt"),
            ("tls.key_file", "tls.key"),
            ("tls.client_ca_file", "clients.crt"),
            ("tls.crl_file", "clients.crl"),
        ]
        .map(|(key, file)| (key, files.text(file)))
        .into();
        flags.insert(key, files.text(file));
        flags.insert("sandbox.enabled", "true".to_owned());
        flags.insert("listen", "127.0.0.1:0".to_owned());
        let config = Config::read(Sources {
            flags,
            ..Sources::default()
        })
        .unwrap();

        let faults = ram_facade::server::check(&config);
        let refused = Server::start(config).await.err().expect("it does not start");

        let text = ram_facade::failure::chain(&refused);
        assert_eq!(faults, [text.as_str()]);
        let named = if file == "both.crt" { "clients.crl" } else { file };
        for part in [
            files.text(named).as_str(),
            rule,
            if file == "both.crt" { "tls.crl_file" } else { key },
        ] {
            assert!(text.contains(part), "`{part}` is missing from: {text}");
        }
    }
}

// === The probe ===

#[tokio::test]
async fn the_probe_speaks_tls_and_shows_a_certificate_where_one_is_required() {
    let fixture = Fixture::start().await;
    fixture.files.write("server-ca.crt", fixture.public.pem());
    let own = fixture.client(&[ALICE]);
    fixture.files.write("probe.crt", &own.certificate_pem);
    fixture.files.write("probe.key", &own.key_pem);
    let address = fixture.server.address().to_string();
    let [ca, certificate, key, clients] =
        ["server-ca.crt", "probe.crt", "probe.key", "clients.crt"].map(|name| fixture.files.text(name));
    let probe = async |arguments: &[&str]| {
        let all = [&["healthcheck", "--address", &address], arguments].concat();
        let mut command: Command = common::command(&all, &[]);
        let output = tokio::task::spawn_blocking(move || common::output(&mut command));
        let output = output.await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let identity = ["--certificate-file", &certificate, "--key-file", &key];

    let by_address = probe(&[&["--ca-file", &ca], identity.as_slice()].concat()).await;
    let by_name = ["--ca-file", &ca, "--server-name", common::certificates::SERVER];
    let by_name = probe(&[by_name.as_slice(), &identity].concat()).await;
    let nobody = probe(&["--ca-file", &ca]).await;
    let wrong_name = ["--ca-file", &ca, "--server-name", "other.test"];
    let wrong_name = probe(&[wrong_name.as_slice(), &identity].concat()).await;
    let wrong_authority = probe(&[&["--ca-file", &clients], identity.as_slice()].concat()).await;
    let plaintext = probe(&[]).await;

    assert_eq!(
        (by_address, by_name),
        ((Some(0), String::new()), (Some(0), String::new()))
    );
    for ((code, text), part) in [
        (nobody, "--certificate-file"),
        (wrong_name, "other.test"),
        (wrong_authority, "UnknownIssuer"),
        (plaintext, "--ca-file"),
    ] {
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(part), "`{part}` is missing from: {text}");
    }
}
