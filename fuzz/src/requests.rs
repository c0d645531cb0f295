//! What arrives at the door: HTTP/2 frames, and gRPC messages in good frames. The server goes on serving.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ram_facade::{
    config::{Config, Sources},
    server::Server,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame (RFC 9113, 6.5).
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

struct Fixture {
    runtime: Runtime,
    address: SocketAddr,
    _server: Server,
}

thread_local! {
    static FIXTURE: Fixture = {
        // One thread, so that an input reaches the same code each time.
        let runtime = Builder::new_current_thread().enable_all().build().expect("it starts");
        let keys = [
            ("sandbox.enabled", "true"),
            ("listen", "127.0.0.1:0"),
            ("pace.initial_rate", "10000"),
            ("pace.max_rate", "10000"),
        ];
        let flags: BTreeMap<_, _> = keys.map(|(key, value)| (key, value.to_owned())).into();
        let config = Config::read(Sources { flags, ..Sources::default() }).expect("the keys are good");
        let server = runtime.block_on(Server::start(config)).expect("it starts");
        let address = server.address();
        Fixture { runtime, address, _server: server }
    };
}

/// A frame with a payload of less than 16 KiB.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..16_000).unwrap_or(payload);
    let length = u32::try_from(payload.len()).expect("it is short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// The head of a call of Create in HPACK: indexed where the static table has it, literal elsewhere (RFC 7541).
fn head() -> Vec<u8> {
    fn literal(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).expect("it is short"));
            out.extend_from_slice(text);
        }
    }
    let mut block = vec![0x83, 0x86];
    literal(&mut block, b":path", b"/ramfacade.v1.ResourceShareService/Create");
    literal(&mut block, b":authority", b"localhost");
    literal(&mut block, b"content-type", b"application/grpc");
    literal(&mut block, b"te", b"trailers");
    block
}

/// Feeds one input. Its first byte, best a digit, says what the rest is.
pub fn feed(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else {
        return;
    };
    let what = match which % 4 {
        // Frames of any kind.
        0 => rest.to_vec(),
        // Headers of any kind.
        1 => frame(1, 0x5, rest),
        // A body of any kind.
        2 => [frame(1, 0x4, &head()), frame(0, 0x1, rest)].concat(),
        // A message of any kind, well framed.
        _ => {
            let length = u32::try_from(rest.len().min(15_000))
                .expect("it is short")
                .to_be_bytes();
            let message = [&[0], length.as_slice(), rest].concat();
            [frame(1, 0x4, &head()), frame(0, 0x1, &message)].concat()
        }
    };
    FIXTURE.with(|fixture| {
        fixture.runtime.block_on(async {
            let mut stream = TcpStream::connect(fixture.address)
                .await
                .expect("the server accepts");
            // It may close at any time; that is its right.
            let _ = stream.write_all(&[PREFACE, SETTINGS, &what].concat()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
            assert!(
                ended.is_ok(),
                "the server keeps a connection whose client has said all it has to say"
            );
            // INTERNAL with this text is what a panic comes to.
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.contains("internal error"), "{text}");
        });
    });
}
