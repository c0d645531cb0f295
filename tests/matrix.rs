//! Every method of every service that this server has, for every kind of caller: one expected answer each.
//!
//! The methods are those that reflection lists, so that a new one without a row fails here.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::{collections::BTreeSet, time::UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost_types::FileDescriptorProto;
use ram_facade::{
    pb::v1::{CreateResourceShareRequest, ListResourceTypesRequest},
    server::Server,
};
use serde_json::json;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::{v1, v1alpha};

use common::{
    certificates::{Authority, Dial, Files, Identity, Leaf},
    issuer::{SigningKey, jwks},
    secrets::{keep_token, token_line},
    start,
};

const ISSUER: &str = "https://issuer.example";

/// What a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// OK.
    Served,
    /// UNAUTHENTICATED.
    Unknown,
    /// PERMISSION_DENIED.
    Denied,
    /// The connection does not come about.
    Closed,
}

use Answer::{Closed, Denied, Served, Unknown};

/// What a caller presents.
struct Credentials {
    bearer: Option<String>,
    certificate: Option<Identity>,
}

/// The kinds of callers, in the order of the columns below.
const CALLERS: [&str; 15] = [
    "nobody",
    "a token that nobody has",
    "an expired JWT",
    "a JWT for another audience",
    "a JWT of another issuer's key",
    "a revoked certificate",
    "a certificate of another authority",
    "a certificate of another trust domain",
    "a token and a certificate, both good",
    "a token, allowed",
    "a JWT, allowed",
    "a certificate, allowed",
    "a token, denied",
    "a JWT, denied",
    "a certificate, denied",
];

/// Only who is known and allowed.
const BY_POLICY: [Answer; 15] = [
    Unknown, Unknown, Unknown, Unknown, Unknown, Closed, Closed, Unknown, Unknown, Served, Served, Served,
    Denied, Denied, Denied,
];
/// Everybody who is known: what the server can do is no secret among them, and policies speak of RAM's actions.
const KNOWN: [Answer; 15] = [
    Unknown, Unknown, Unknown, Unknown, Unknown, Closed, Closed, Unknown, Unknown, Served, Served, Served,
    Served, Served, Served,
];
/// Everybody who gets a connection, whatever they present: probes have no credentials.
const OPEN: [Answer; 15] = [
    Served, Served, Served, Served, Served, Closed, Closed, Served, Served, Served, Served, Served, Served,
    Served, Served,
];

/// Every method, a request that it accepts, and what each kind of caller is answered.
fn rows() -> Vec<(&'static str, Vec<u8>, [Answer; 15])> {
    let create = CreateResourceShareRequest {
        name: "share".to_owned(),
        ..CreateResourceShareRequest::default()
    };
    let list = v1::ServerReflectionRequest {
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
        ..v1::ServerReflectionRequest::default()
    };
    let health = HealthCheckRequest::default().encode_to_vec();
    vec![
        (
            "/ramfacade.v1.ResourceShareService/Create",
            create.encode_to_vec(),
            BY_POLICY,
        ),
        (
            "/ramfacade.v1.ResourceShareService/ListResourceTypes",
            ListResourceTypesRequest::default().encode_to_vec(),
            BY_POLICY,
        ),
        // The two versions have the same messages.
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            list.encode_to_vec(),
            KNOWN,
        ),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            list.encode_to_vec(),
            KNOWN,
        ),
        ("/grpc.health.v1.Health/Check", health.clone(), OPEN),
        ("/grpc.health.v1.Health/Watch", health, OPEN),
    ]
}

struct Fixture {
    server: Server,
    public: Authority,
    callers: Vec<Credentials>,
    _files: Files,
}

impl Fixture {
    async fn start() -> Self {
        let files = Files::new();
        let (public, private, foreign) = (
            Authority::new("public"),
            Authority::new("private"),
            Authority::new("foreign"),
        );
        let certificate = |of: &Authority, id: &str| of.issue(Leaf::client(&[id]));
        let revoked = certificate(&private, "spiffe://prod.example/allowed");
        files.identity(&public.issue(Leaf::server()));
        files.write("clients.crt", private.pem());
        files.write("clients.crl", &private.list(&[&revoked]));
        let lines = [("token-of-allowed", "allowed"), ("token-of-denied", "denied")];
        let tokens: String = lines
            .iter()
            .map(|(token, caller)| token_line(token, caller))
            .collect();
        files.write("tokens", &tokens);
        let (key, other) = (SigningKey::p256("key"), SigningKey::p256("key"));
        files.write("jwks", &jwks(&[&key]));
        files.write(
            "issuers.toml",
            &format!(
                "[[issuer]]\nissuer = \"{ISSUER}\"\naudiences = [\"ram-facade\"]\nalgorithms = [\"ES256\"]\njwks_file = \"{}\"\n",
                files.text("jwks")
            ),
        );
        files.write(
            "policy.cedar",
            "@id(\"allowed\")\npermit (principal, action, resource) when { principal.subject == \"allowed\" };",
        );
        let names = [
            ("tls.certificate_file", "tls.crt"),
            ("tls.key_file", "tls.key"),
            ("tls.client_ca_file", "clients.crt"),
            ("tls.crl_file", "clients.crl"),
            ("auth.tokens_file", "tokens"),
            ("auth.issuers_file", "issuers.toml"),
            ("policy.file", "policy.cedar"),
        ];
        let paths: Vec<_> = names.iter().map(|(key, name)| (*key, files.text(name))).collect();
        let mut keys: Vec<_> = paths.iter().map(|(key, path)| (*key, path.as_str())).collect();
        keys.extend([
            ("tls.client_certificates", "optional"),
            ("auth.certificate.trust_domains", "prod.example"),
        ]);
        let server = start(&keys).await;

        let jwt = |key: &SigningKey, subject: &str, audience: &str, from_now: i64| {
            let now = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
            let exp = now + from_now;
            key.token(&json!({"iss": ISSUER, "sub": subject, "aud": audience, "iat": exp - 600, "exp": exp}))
        };
        let bearer = |token: &str| Credentials {
            bearer: Some(token.to_owned()),
            certificate: None,
        };
        let shown = |certificate: Identity| Credentials {
            bearer: None,
            certificate: Some(certificate),
        };
        let nobody = Credentials {
            bearer: None,
            certificate: None,
        };
        let callers = vec![
            nobody,
            bearer("token-of-nobody"),
            bearer(&jwt(&key, "allowed", "ram-facade", -3_600)),
            bearer(&jwt(&key, "allowed", "another-service", 300)),
            bearer(&jwt(&other, "allowed", "ram-facade", 300)),
            shown(revoked),
            shown(certificate(&foreign, "spiffe://prod.example/allowed")),
            shown(certificate(&private, "spiffe://test.example/allowed")),
            Credentials {
                bearer: Some("token-of-allowed".to_owned()),
                ..shown(certificate(&private, "spiffe://prod.example/allowed"))
            },
            bearer("token-of-allowed"),
            bearer(&jwt(&key, "allowed", "ram-facade", 300)),
            shown(certificate(&private, "spiffe://prod.example/allowed")),
            bearer("token-of-denied"),
            bearer(&jwt(&key, "denied", "ram-facade", 300)),
            shown(certificate(&private, "spiffe://prod.example/denied")),
        ];
        assert_eq!(callers.len(), CALLERS.len());
        Self {
            server,
            public,
            callers,
            _files: files,
        }
    }

    async fn channel(&self, caller: &Credentials) -> Option<Channel> {
        let dial = Dial::new(self.server.address(), &self.public, caller.certificate.as_ref());
        dial.channel().await.ok()
    }

    async fn answer(&self, caller: &Credentials, path: &'static str, message: &[u8]) -> Answer {
        let Some(channel) = self.channel(caller).await else {
            return Closed;
        };
        match call(channel, caller.bearer.as_deref(), path, message).await {
            Ok(()) => Served,
            // Whatever this server answers has an id. In TLS 1.3 a client learns after its handshake that it is refused.
            Err(status) if !status.metadata().contains_key("x-request-id") => Closed,
            Err(status) => match status.code() {
                Code::Unauthenticated => Unknown,
                Code::PermissionDenied => Denied,
                _ => panic!("{path}: {status:?}"),
            },
        }
    }
}

/// Sends `message` and waits for the first that comes back: a method that streams need not end.
async fn call(
    channel: Channel,
    bearer: Option<&str>,
    path: &'static str,
    message: &[u8],
) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|e| Status::unknown(e.to_string()))?;
    let message = Bytes::copy_from_slice(message);
    let mut request = Request::new(futures_util::stream::iter([message]));
    if let Some(token) = bearer {
        keep_token(token);
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let path = PathAndQuery::from_static(path);
    let mut answers = client.streaming(request, path, Plain).await?.into_inner();
    answers.message().await?.expect("an answer has a message");
    Ok(())
}

/// Messages as they are on the wire.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// The paths of all methods that reflection lists, asked in both versions: each names itself and not the other.
async fn methods(channel: Channel, token: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    macro_rules! ask {
        ($version:ident) => {{
            use $version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest as Ask,
                server_reflection_response::MessageResponse as Told,
            };
            let ask = async |question: Ask| {
                let question = ServerReflectionRequest {
                    message_request: Some(question),
                    ..ServerReflectionRequest::default()
                };
                let mut request = Request::new(futures_util::stream::iter([question]));
                let value = format!("Bearer {token}").parse().unwrap();
                request.metadata_mut().insert("authorization", value);
                let mut client = ServerReflectionClient::new(channel.clone());
                let mut answers = client.server_reflection_info(request).await.unwrap().into_inner();
                answers
                    .message()
                    .await
                    .unwrap()
                    .unwrap()
                    .message_response
                    .unwrap()
            };
            let Told::ListServicesResponse(services) = ask(Ask::ListServices(String::new())).await else {
                panic!("no list");
            };
            for service in services.service {
                let Told::FileDescriptorResponse(files) =
                    ask(Ask::FileContainingSymbol(service.name.clone())).await
                else {
                    panic!("nothing about {}", service.name);
                };
                for bytes in files.file_descriptor_proto {
                    let file = FileDescriptorProto::decode(bytes.as_slice()).unwrap();
                    for found in &file.service {
                        let name = format!("{}.{}", file.package(), found.name());
                        paths.extend(
                            found
                                .method
                                .iter()
                                .map(|method| format!("/{name}/{}", method.name())),
                        );
                    }
                }
            }
        }};
    }
    ask!(v1);
    ask!(v1alpha);
    paths
}

#[tokio::test]
async fn every_method_has_one_answer_for_every_kind_of_caller() {
    let fixture = Box::pin(Fixture::start()).await;
    let nobody = fixture.channel(&fixture.callers[0]).await.unwrap();

    let listed = methods(nobody, "token-of-denied").await;
    let expected: BTreeSet<_> = rows().iter().map(|(path, _, _)| (*path).to_owned()).collect();
    assert_eq!(
        listed, expected,
        "each method that is served needs a row, and each row a method"
    );

    for (path, message, answers) in rows() {
        for ((name, caller), expected) in CALLERS.iter().zip(&fixture.callers).zip(answers) {
            let answer = fixture.answer(caller, path, &message).await;
            assert_eq!(answer, expected, "{path} called by {name}");
        }
    }
}
