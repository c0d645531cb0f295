//! The client's side of TLS, for a probe of our own server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{InvalidDnsNameError, ServerName},
};

use super::{
    ALPN,
    files::{self, LoadError},
};

const CA: &str = "--ca-file";
const CERTIFICATE: &str = "--certificate-file";
const KEY: &str = "--key-file";

/// How a probe knows the server, and who it says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The authorities that may vouch for the server, PEM.
    pub ca_file: PathBuf,
    /// The name that its certificate must have. `None`: the address that is probed.
    pub server_name: Option<String>,
    /// Certificate and key of the probe itself, PEM, for a server that requires one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why a probe cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] LoadError),
    /// The name is none.
    #[error("--server-name: `{0}` is neither a DNS name nor an IP address")]
    Name(String, #[source] InvalidDnsNameError),
}

impl Settings {
    /// Reads the files: what a client of the server at `address` needs. Blocks.
    pub(in crate::server) fn client(
        &self,
        address: SocketAddr,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), ProbeError> {
        let name = match self.server_name.clone() {
            Some(name) => {
                ServerName::try_from(name.clone()).map_err(|error| ProbeError::Name(name, error))?
            }
            None => ServerName::IpAddress(address.ip().into()),
        };
        let mut roots = RootCertStore::empty();
        let path = &self.ca_file;
        for (number, certificate) in (1..).zip(files::blocks(CA, path, &files::read(CA, path)?)?) {
            let added = roots.add(certificate);
            added.map_err(|error| files::faulty(CA, path, number, error))?;
        }
        let builder = ClientConfig::builder_with_provider(files::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| files::faulty(CA, path, 1, error))?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            Some((certificate, key)) => {
                let chain = files::blocks(CERTIFICATE, certificate, &files::read(CERTIFICATE, certificate)?)?;
                let secret = files::private_key(KEY, key, &files::read(KEY, key)?)?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| files::faulty(KEY, key, 1, error))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok((Arc::new(config), name))
    }
}
