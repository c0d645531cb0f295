//! Where keys are fetched from: an URL or a file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;

use super::file::{FileError, MAX_FILE, read};

/// Largest JWK set, in bytes: 64 RSA keys with their certificates take less.
pub(super) const MAX_SET: usize = 256 * 1_024;

/// Why keys could not be fetched.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("no answer")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    #[error("the answer is {0}, redirects are not followed")]
    Redirected(StatusCode),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it is larger than {MAX_SET} bytes")]
    TooLarge,
    #[error("no answer within 5 seconds")]
    TimedOut,
    #[error("what came is no usable JWK set: {0}")]
    Set(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// A place that publishes a JWK set.
pub(super) trait Source: Send + Sync + 'static {
    /// Fetches the set as it is now. May take as long as it likes: the caller has a time-out.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>>;

    /// How long a set that was fetched is good for.
    fn interval(&self) -> Duration;
}

/// A file, which costs nothing to look at.
pub(super) struct FromFile(pub(super) PathBuf);

impl Source for FromFile {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>> {
        let path = self.0.clone();
        Box::pin(async move {
            let reading = tokio::task::spawn_blocking(move || read(&path, MAX_SET));
            let ended = reading.await.map_err(|e| FetchError::Broken(e.into()))?;
            Ok(ended?.to_vec())
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// An URL.
pub(super) struct FromUrl {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Uri,
    token_file: Option<PathBuf>,
}

impl FromUrl {
    /// Prepares to fetch from `url`. Blocks on files; call it at start.
    ///
    /// # Errors
    /// If the certificates of `ca_file`, or without it the system's, cannot be used.
    pub(super) fn new(
        url: Uri,
        ca_file: Option<&Path>,
        token_file: Option<PathBuf>,
    ) -> Result<Self, FileError> {
        let provider = aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new();
        let builder = match ca_file {
            Some(path) => builder.with_tls_config(trusting(path, provider)?),
            // Plain HTTP is for loopback, and must not fail for want of a system's certificates.
            None if url.scheme_str() == Some("http") => {
                builder.with_tls_config(tls(RootCertStore::empty(), provider)?)
            }
            None => builder
                .with_provider_and_native_roots(provider)
                .map_err(|source| FileError::Read {
                    path: "the system's certificates".into(),
                    source,
                })?,
        };
        let connector = builder.https_or_http().enable_http1().build();
        // Ten minutes later the name may stand for another address.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Self {
            client,
            url,
            token_file,
        })
    }

    async fn request(&self) -> Result<Request<Empty<Bytes>>, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/jwk-set+json, application/json"),
        );
        headers.insert(header::USER_AGENT, HeaderValue::from_static("ram-facade"));
        if let Some(path) = self.token_file.clone() {
            let reading = tokio::task::spawn_blocking(move || read_secret(&path));
            let credential = reading.await.map_err(|e| FetchError::Broken(e.into()))??;
            request.headers_mut().insert(header::AUTHORIZATION, credential);
        }
        Ok(request)
    }
}

impl Source for FromUrl {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            let answer = self
                .client
                .request(self.request().await?)
                .await
                .map_err(FetchError::Unreachable)?;
            match answer.status() {
                StatusCode::OK => {}
                status if status.is_redirection() => return Err(FetchError::Redirected(status)),
                status => return Err(FetchError::Status(status)),
            }
            match Limited::new(answer.into_body(), MAX_SET).collect().await {
                Ok(body) => Ok(body.to_bytes().into()),
                Err(error) if error.is::<LengthLimitError>() => Err(FetchError::TooLarge),
                Err(error) => Err(FetchError::Broken(error)),
            }
        })
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(600)
    }
}

fn trusting(path: &Path, provider: CryptoProvider) -> Result<ClientConfig, FileError> {
    let unusable = |what: String| FileError::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, what),
    };
    let pem = read(path, MAX_FILE)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate in PEM".to_owned()));
    }
    tls(roots, provider)
}

fn tls(roots: RootCertStore, provider: CryptoProvider) -> Result<ClientConfig, FileError> {
    let versions =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    // Only for a provider that lacks them, which this one does not.
    let versions = versions.map_err(|e| FileError::Read {
        path: "TLS versions".into(),
        source: io::Error::other(e),
    })?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn read_secret(path: &Path) -> Result<HeaderValue, FileError> {
    let token = read(path, MAX_FILE)?;
    let mut credential = b"Bearer ".to_vec();
    credential.extend_from_slice(token.trim_ascii());
    let mut credential =
        HeaderValue::from_maybe_shared(Bytes::from(credential)).map_err(|_form| FileError::Read {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, "it holds no bearer token"),
        })?;
    credential.set_sensitive(true);
    Ok(credential)
}
