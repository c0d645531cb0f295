//! Authorities, certificates and revocation lists that are really made, and clients that show them.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::Client;

/// The name that servers of tests have.
pub const SERVER: &str = "facade.test";

/// Seconds from now, or before.
pub type Seconds = i64;
const YEAR: Seconds = 365 * 86_400;

/// Somebody who vouches for others.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    pub key_pem: String,
    serial: SerialNumber,
}

/// What a certificate says.
pub struct Leaf {
    names: Vec<SanType>,
    usage: ExtendedKeyUsagePurpose,
    valid: [Seconds; 2],
}

impl Leaf {
    pub fn server() -> Self {
        Self {
            names: vec![
                SanType::DnsName(SERVER.try_into().expect("it is ASCII")),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ],
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            valid: [-YEAR, YEAR],
        }
    }

    /// A client with these names; those with a colon are URIs.
    pub fn client(names: &[&str]) -> Self {
        let name = |name: &&str| {
            let text = (*name).try_into().expect("it is ASCII");
            if name.contains(':') {
                SanType::URI(text)
            } else {
                SanType::DnsName(text)
            }
        };
        Self {
            names: names.iter().map(name).collect(),
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            valid: [-YEAR, YEAR],
        }
    }

    pub fn valid(mut self, from: Seconds, to: Seconds) -> Self {
        self.valid = [from, to];
        self
    }

    pub fn for_servers_only(mut self) -> Self {
        self.usage = ExtendedKeyUsagePurpose::ServerAuth;
        self
    }
}

macro_rules! at {
    ($seconds:expr) => {{
        let now = UNIX_EPOCH.elapsed().expect("it is later").as_secs();
        let then = now.checked_add_signed($seconds).expect("it is near");
        date_time_ymd(1970, 1, 1) + Duration::from_secs(then)
    }};
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("the system has entropy");
        let pem = params.self_signed(&key).expect("it signs").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn issue(&self, leaf: Leaf) -> Identity {
        let mut params = CertificateParams::default();
        let serial = SerialNumber::from(fastrand::u64(1..u64::MAX / 2));
        params.serial_number = Some(serial.clone());
        params.subject_alt_names = leaf.names;
        params.extended_key_usages = vec![leaf.usage];
        params.use_authority_key_identifier_extension = true;
        let [from, to] = leaf.valid;
        params.not_before = at!(from);
        params.not_after = at!(to);
        let key = KeyPair::generate().expect("the system has entropy");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        Identity {
            certificate: certificate.der().clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            serial,
        }
    }

    /// A list that revokes these, and is current for a year.
    pub fn list(&self, revoked: &[&Identity]) -> String {
        self.list_until(revoked, YEAR)
    }

    /// A list that is past its time from `next_update` on.
    pub fn list_until(&self, revoked: &[&Identity], next_update: Seconds) -> String {
        let revoked_certs = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: at!(-60),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: at!(-3_600),
            next_update: at!(next_update),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("it signs");
        signed.pem().expect("it has a form in PEM")
    }
}

/// The files of a server, each replaced at once as an operator does it.
pub struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("there is room"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        super::path(&self.path(name)).to_owned()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (new, path) = (self.path("new"), self.path(name));
        fs::write(&new, text).expect("there is room");
        set_mode(&new, 0o600);
        fs::rename(&new, &path).expect("it is the same folder");
        path
    }

    pub fn identity(&self, identity: &Identity) {
        self.write("tls.crt", &identity.certificate_pem);
        self.write("tls.key", &identity.key_pem);
    }
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A client that is yet to connect.
#[derive(Clone)]
pub struct Dial {
    config: ClientConfig,
    address: SocketAddr,
}

impl Dial {
    /// Believes `authority`, and shows `identity` if it has one.
    pub fn new(address: SocketAddr, authority: &Authority, identity: Option<&Identity>) -> Self {
        Self::of(rustls::ALL_VERSIONS, address, authority, identity)
    }

    /// As [`new`](Self::new), of these versions of TLS.
    pub fn of(
        versions: &[&'static rustls::SupportedProtocolVersion],
        address: SocketAddr,
        authority: &Authority,
        identity: Option<&Identity>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("it is PEM");
        roots.add(root).expect("it is an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider knows them")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("it is PEM");
                builder
                    .with_client_auth_cert(vec![identity.certificate.clone()], key)
                    .expect("they fit")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { config, address }
    }

    /// Offers these protocols.
    pub fn offers(mut self, protocols: &[&[u8]]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        self
    }

    /// Shakes hands.
    pub async fn stream(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(SERVER).expect("it is a name");
        TlsConnector::from(Arc::new(self.config.clone()))
            .connect(name, stream)
            .await
    }

    /// The certificate that the server shows.
    pub async fn shown(&self) -> CertificateDer<'static> {
        let stream = self.stream().await.expect("the server shakes hands");
        let chain = stream.get_ref().1.peer_certificates().expect("servers show one");
        chain[0].clone()
    }

    /// Why the server ends the connection. In TLS 1.3 it has looked at the client's certificate only when the client
    /// believes the handshake to be over.
    pub async fn refusal(&self) -> String {
        use tokio::io::AsyncReadExt;
        let reading = async {
            let mut stream = self.stream().await?;
            stream.read_to_end(&mut Vec::new()).await
        };
        let read = tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .expect("it ends in time");
        match read {
            Ok(_) => "closed".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// A gRPC client.
    pub async fn client(&self) -> Result<Client, tonic::transport::Error> {
        self.channel().await.map(Client::new)
    }

    /// A connection for any gRPC client.
    pub async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let dial = self.clone();
        let connect = tower::service_fn(move |_: http::Uri| {
            let dial = dial.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(dial.stream().await?)) }
        });
        let endpoint = Endpoint::from_static("http://facade.test");
        endpoint.connect_with_connector(connect).await
    }
}
