//! A RAM of the simulation, which honours client tokens, notes what it executed, and answers as badly as it is told to.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufWriter},
    time::sleep,
};
use turmoil::net::{TcpListener, TcpStream};

use crate::common::history::{Intent, Share};

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The connection is reset in the middle of the request, which is not executed.
    ResetsRequest,
    /// It is read and not executed, and the connection stays open.
    IgnoresRequest,
    /// It is executed, and the connection stays open.
    NeverAnswers,
    /// It is executed, and the answer comes later.
    AnswersLate(Duration),
    /// It is executed, and of the answer there is only the head.
    AnswersHeadOnly,
    /// It is executed, and the answer comes with such a pause before each byte of its body.
    Drips(Duration),
    /// It is executed, and the connection is reset in the middle of the answer.
    ResetsAnswer,
    /// It is executed, and the connection is reset without an answer.
    ExecutesAndResets,
    /// It is executed, and the connection is closed without an answer.
    ExecutesAndCloses,
    /// It is executed, and the answer says 500.
    ExecutesAndFails,
    /// It is not executed, and the answer says 500.
    Fails,
}

impl Fault {
    pub(crate) fn any(random: &mut Rng) -> Self {
        match random.u8(0..11) {
            0 => Self::ResetsRequest,
            1 => Self::IgnoresRequest,
            2 => Self::NeverAnswers,
            3 => Self::AnswersLate(Duration::from_millis(random.u64(10..12_000))),
            4 => Self::AnswersHeadOnly,
            5 => Self::Drips(Duration::from_millis(random.u64(1..200))),
            6 => Self::ResetsAnswer,
            7 => Self::ExecutesAndResets,
            8 => Self::ExecutesAndCloses,
            9 => Self::ExecutesAndFails,
            _ => Self::Fails,
        }
    }
}

/// See the module. Clones are the same.
#[derive(Clone)]
pub(crate) struct Ram(Arc<Mutex<State>>);

struct State {
    /// For the next requests, in order.
    planned: VecDeque<Fault>,
    /// Share of the requests behind those that go wrong.
    faulty: f64,
    random: Rng,
    by_token: BTreeMap<String, String>,
    shares: Vec<Share>,
}

impl Ram {
    pub(crate) fn new(seed: u64, planned: &[Fault], faulty: f64) -> Self {
        Self(Arc::new(Mutex::new(State {
            planned: planned.iter().copied().collect(),
            faulty,
            random: Rng::with_seed(seed),
            by_token: BTreeMap::new(),
            shares: Vec::new(),
        })))
    }

    /// From now on all goes well.
    pub(crate) fn heal(&self) {
        let mut state = self.lock();
        state.planned.clear();
        state.faulty = 0.0;
    }

    pub(crate) fn shares(&self) -> Vec<Share> {
        self.lock().shares.clone()
    }

    pub(crate) async fn serve(self) -> turmoil::Result {
        let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let ram = self.clone();
            // Whatever ends a connection, the next one is another.
            tokio::spawn(async move { drop(ram.serve_connection(stream).await) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn fault(&self) -> Option<Fault> {
        let state = &mut *self.lock();
        let planned = state.planned.pop_front();
        planned.or_else(|| (state.random.f64() < state.faulty).then(|| Fault::any(&mut state.random)))
    }

    async fn serve_connection(self, stream: TcpStream) -> io::Result<()> {
        // What is not flushed is not sent: an answer is one packet unless it shall not be.
        let mut stream = BufWriter::new(stream);
        loop {
            let head = read_head(&mut stream).await?;
            let fault = self.fault();
            if let Some(Fault::ResetsRequest) = fault {
                // With bytes that nobody read, which makes it a reset.
                return Ok(());
            }
            let length = content_length(&head);
            let mut body = vec![0; length - 1];
            stream.read_exact(&mut body).await?;
            if let Some(Fault::ResetsAnswer | Fault::ExecutesAndResets) = fault {
                // The last byte of the request is not read.
                body.push(b'}');
                let answer = self.execute(&body);
                if let Some(Fault::ResetsAnswer) = fault {
                    let (half, _) = answer.split_at(answer.len() / 2);
                    stream.write_all(half.as_bytes()).await?;
                }
                return stream.flush().await;
            }
            body.push(stream.read_u8().await?);
            match fault {
                Some(Fault::IgnoresRequest) => std::future::pending().await,
                Some(Fault::Fails) => stream.write_all(failed().as_bytes()).await?,
                Some(Fault::ExecutesAndCloses) => {
                    self.execute(&body);
                    return Ok(());
                }
                Some(Fault::ExecutesAndFails) => {
                    self.execute(&body);
                    stream.write_all(failed().as_bytes()).await?;
                }
                fault => {
                    assert!(head.starts_with("POST /createresourceshare "), "{head}");
                    let answer = self.execute(&body);
                    send(&mut stream, &answer, fault).await?;
                }
            }
            stream.flush().await?;
        }
    }

    /// Makes a share unless its token has one, and returns the answer.
    fn execute(&self, body: &[u8]) -> String {
        let request: serde_json::Value = serde_json::from_slice(body).expect("the SDK writes JSON");
        let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
        let (name, token) = (text("name"), text("clientToken"));
        let state = &mut *self.lock();
        let number = state.shares.len();
        let arn = state.by_token.entry(token.clone()).or_insert_with(|| {
            let arn = format!("arn:aws:ram:us-east-1:111122223333:resource-share/{number}");
            let [caller, caller_token, payload] = name.split("--").collect::<Vec<_>>()[..] else {
                panic!("`{name}` is not the name of a recorded request");
            };
            state.shares.push(Share {
                intent: Intent {
                    caller: caller.to_owned(),
                    token: caller_token.to_owned(),
                },
                payload: payload.to_owned(),
                arn: arn.clone(),
                upstream: token,
                made: super::now(),
            });
            arn
        });
        let body = serde_json::json!({ "resourceShare": {
            "resourceShareArn": arn, "name": name, "owningAccountId": "111122223333", "status": "ACTIVE",
        }});
        answer("200 OK", "", &body.to_string())
    }
}

async fn send(
    stream: &mut (impl AsyncWriteExt + Unpin),
    answer: &str,
    fault: Option<Fault>,
) -> io::Result<()> {
    let (head, body) = answer.split_once("\r\n\r\n").expect("it has a head");
    match fault {
        Some(Fault::NeverAnswers) => std::future::pending().await,
        Some(Fault::AnswersLate(pause)) => {
            sleep(pause).await;
            stream.write_all(answer.as_bytes()).await
        }
        Some(Fault::AnswersHeadOnly) => {
            stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await?;
            stream.flush().await?;
            std::future::pending().await
        }
        Some(Fault::Drips(pause)) => {
            stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await?;
            for byte in body.bytes() {
                stream.flush().await?;
                sleep(pause).await;
                stream.write_all(&[byte]).await?;
            }
            Ok(())
        }
        _ => stream.write_all(answer.as_bytes()).await,
    }
}

fn failed() -> String {
    let kind = "x-amzn-errortype: ServerInternalException\r\n";
    answer("500 Internal Server Error", kind, r#"{"message": "no"}"#)
}

fn answer(status: &str, header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{header}content-length: {length}\r\n\r\n{body}"
    )
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).expect("the SDK writes ASCII"))
}

fn content_length(head: &str) -> usize {
    let mut lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().expect("it is a number"))
    });
    lengths.next().expect("the SDK says how long the body is")
}
