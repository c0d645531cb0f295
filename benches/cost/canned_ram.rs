//! A RAM that answers every request with the same share, at once or after a while: its cost is small and the same for all.

use std::{
    convert::Infallible,
    io::{self, BufRead},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// RAM's answer to the request that the load makes.
const ANSWER: &str = r#"{"resourceShare":{"resourceShareArn":"arn:aws:ram:us-east-1:111122223333:resource-share/23e76dc0-3bd1-4b21-bf90-80f8d14c5d59","name":"network-of-the-data-platform","owningAccountId":"111122223333","allowExternalPrincipals":true,"status":"ACTIVE","tags":[{"key":"team","value":"network"},{"key":"stage","value":"production"}],"creationTime":1795388067.941,"lastUpdatedTime":1795388067.941,"featureSet":"STANDARD"},"clientToken":"8a3f1d52-6d0e-4f0b-9b53-2f9f0a7c1e44"}"#;

/// How long an answer takes, in milliseconds.
static DELAY: AtomicU64 = AtomicU64::new(0);

/// Serves until it is killed. A line on its standard input is the delay from then on.
pub(crate) async fn serve() {
    thread::spawn(|| {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            DELAY.store(line.parse().unwrap(), Ordering::Relaxed);
            println!("answers after {line}");
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that goes away is none of its concern.
    drop(served.await);
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    drop(request.into_body().collect().await);
    let delay = DELAY.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let answer = Response::builder()
        .header("content-type", "application/json")
        .header("x-amzn-requestid", "0b6e4b2e-5f0c-4c3a-9a51-0d1c3d4e5f60")
        .body(Full::from(ANSWER));
    Ok(answer.unwrap())
}
