//! The files: read with care, and refused with the key, the file and the rule.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use webpki::{BorrowedCertRevocationList, EndEntityCert, KeyUsage};
use zeroize::Zeroizing;

use super::{Clients, Presence, Settings};
use crate::bounded;

const CERTIFICATE: &str = "tls.certificate_file";
const KEY: &str = "tls.key_file";
const CA: &str = "tls.client_ca_file";
const CRL: &str = "tls.crl_file";

/// Largest file that is read, in bytes: a revocation list of some 400,000 certificates.
const MAX_FILE: usize = 16 * 1_024 * 1_024;

/// Rights that nobody may have on a private key: all of others', and the group's writing.
const OTHERS: u32 = 0o027;

/// Why the files of TLS cannot be used. No text of the key's file is ever quoted.
#[derive(Debug, Error)]
pub enum LoadError {
    /// One cannot be read.
    #[error("{key}: cannot read `{}`", path.display())]
    Read {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read the private key.
    #[error("{key}: `{}` has mode {mode:04o}; make it 0600, or 0440 for a group of its own", path.display())]
    Exposed {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// One does not hold what it must.
    #[error("{key}: `{}` holds no PEM block `{block}`", path.display())]
    Missing {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The blocks that it may hold.
        block: &'static str,
    },
    /// A block of one is not what it says.
    #[error("{key}: block {number} of `{}` cannot be used: {why}", path.display())]
    Faulty {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Number of the block among those that count, from 1.
        number: usize,
        /// What is wrong.
        why: String,
    },
    /// The key is not the certificate's.
    #[error(
        "tls.key_file: the key in `{}` is not the key of the certificate in `{}`; they have to be renewed together",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// An authority has no list, and every client of it would be refused.
    #[error(
        "tls.crl_file: `{}` holds no list of the authority in block {number} of tls.client_ca_file; add an empty one, \
         or take the authority out",
        path.display()
    )]
    NoList {
        /// The file of lists.
        path: PathBuf,
        /// Number of the authority in its file, from 1.
        number: usize,
    },
}

impl LoadError {
    /// Whether reading the same files again may end otherwise.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// What rustls says about certificate and key together.
    pub(super) fn pair(settings: &Settings, error: Error) -> Self {
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Self::Mismatch {
                key: settings.key_file.clone(),
                certificate: settings.certificate_file.clone(),
            },
            Error::InvalidCertificate(fault) => faulty(CERTIFICATE, &settings.certificate_file, 1, fault),
            other => faulty(KEY, &settings.key_file, 1, other),
        }
    }
}

pub(super) fn faulty(key: &'static str, path: &Path, number: usize, why: impl ToString) -> LoadError {
    LoadError::Faulty {
        key,
        path: path.to_owned(),
        number,
        why: why.to_string(),
    }
}

/// The one provider of cryptography, named so that nothing depends on which one was made the process's default.
pub(in crate::server) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// What the files hold.
pub(super) struct Material {
    pub(super) digest: [u8; 32],
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) clients: Option<Authorities>,
}

impl Material {
    pub(super) fn read(settings: &Settings) -> Result<Self, LoadError> {
        let mut digest = Sha256::new();
        let mut read = |key, path: &Path| {
            let bytes = read(key, path)?;
            digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(bytes.as_slice());
            Ok(bytes)
        };
        let path = &settings.certificate_file;
        let chain = blocks(CERTIFICATE, path, &read(CERTIFICATE, path)?)?;
        let key = private_key(KEY, &settings.key_file, &read(KEY, &settings.key_file)?)?;
        let clients = match &settings.clients {
            Some(clients) => Some(Authorities::read(clients, read)?),
            None => None,
        };
        Ok(Self {
            chain,
            key,
            clients,
            digest: digest.finalize().into(),
        })
    }
}

/// Whose certificates are believed, and which of them are not any more.
pub(super) struct Authorities {
    roots: RootCertStore,
    /// `None`: nobody asks for lists.
    lists: Option<Vec<CertificateRevocationListDer<'static>>>,
    presence: Presence,
}

impl Authorities {
    fn read(
        settings: &Clients,
        mut read: impl FnMut(&'static str, &Path) -> Result<Zeroizing<Vec<u8>>, LoadError>,
    ) -> Result<Self, LoadError> {
        let path = &settings.ca_file;
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(blocks(CA, path, &read(CA, path)?)?) {
            roots
                .add(certificate)
                .map_err(|error| faulty(CA, path, number, error))?;
        }
        let lists = match &settings.crl_file {
            Some(path) => Some(lists(path, &read(CRL, path)?, &roots)?),
            None => None,
        };
        Ok(Self {
            roots,
            lists,
            presence: settings.presence,
        })
    }

    /// A verifier that believes them.
    pub(super) fn verifier(self) -> Result<Arc<dyn ClientCertVerifier>, LoadError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots), provider())
            // rustls asks for a list for every certificate of a chain by itself, and not for one that is current.
            .enforce_revocation_expiration()
            .with_crls(self.lists.into_iter().flatten());
        let builder = match self.presence {
            Presence::Required => builder,
            Presence::Optional => builder.allow_unauthenticated(),
        };
        // Roots and lists were looked at one by one; what is left has no number.
        builder
            .build()
            .map_err(|error| faulty(CA, Path::new(""), 0, error))
    }
}

/// The lists of a file, which must have one of every authority.
fn lists(
    path: &Path,
    text: &[u8],
    roots: &RootCertStore,
) -> Result<Vec<CertificateRevocationListDer<'static>>, LoadError> {
    let lists: Vec<CertificateRevocationListDer<'static>> = blocks(CRL, path, text)?;
    let mut issuers = Vec::new();
    for (number, list) in (1..).zip(&lists) {
        let parsed =
            BorrowedCertRevocationList::from_der(list).map_err(|error| faulty(CRL, path, number, error))?;
        issuers.push(webpki::CertRevocationList::from(parsed).issuer().to_vec());
    }
    let lacking = (1..)
        .zip(&roots.roots)
        .find(|(_, root)| !issuers.iter().any(|issuer| issuer == root.subject.as_ref()));
    match lacking {
        Some((number, _)) => Err(LoadError::NoList {
            path: path.to_owned(),
            number,
        }),
        None => Ok(lists),
    }
}

/// What keeps clients from believing the server's certificate whatever authorities they know, if anything does. No reason
/// not to serve: the clock may be what is wrong.
pub(super) fn complaint(chain: &[CertificateDer<'_>], now: UnixTime) -> Option<&'static str> {
    let (leaf, others) = chain.split_first()?;
    let certificate = EndEntityCert::try_from(leaf).ok()?;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    // Nobody's roots are known here: what it says before it looks for one counts.
    let verified = certificate.verify_for_usage(
        algorithms.all,
        &[],
        others,
        now,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verified.err()? {
        webpki::Error::CertExpired { .. } => Some("it has expired"),
        webpki::Error::CertNotValidYet { .. } => Some("it is not valid yet"),
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            Some("its extended key usage is not that of a server")
        }
        _ => None,
    }
}

/// Reads a file; the key's only if others cannot.
pub(super) fn read(key: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let failed = |source| LoadError::Read {
        key,
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if key == KEY && mode & OTHERS != 0 {
        return Err(LoadError::Exposed {
            key,
            path: path.to_owned(),
            mode,
        });
    }
    bounded::read(&file, MAX_FILE).map_err(failed)
}

/// A kind of PEM block, by the name that stands in the file.
pub(super) trait Block: PemObject {
    const NAME: &'static str;
}

impl Block for CertificateDer<'static> {
    const NAME: &'static str = "CERTIFICATE";
}

impl Block for CertificateRevocationListDer<'static> {
    const NAME: &'static str = "X509 CRL";
}

/// All blocks of a kind, at least one.
pub(super) fn blocks<T: Block>(key: &'static str, path: &Path, text: &[u8]) -> Result<Vec<T>, LoadError> {
    let mut found = Vec::new();
    for (number, block) in (1..).zip(T::pem_slice_iter(text)) {
        found.push(block.map_err(|error| faulty(key, path, number, error))?);
    }
    if found.is_empty() {
        return Err(LoadError::Missing {
            key,
            path: path.to_owned(),
            block: T::NAME,
        });
    }
    Ok(found)
}

pub(super) fn private_key(
    key: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<PrivateKeyDer<'static>, LoadError> {
    // Its own errors quote lines.
    PrivateKeyDer::from_pem_slice(text).map_err(|_quoting| LoadError::Missing {
        key,
        path: path.to_owned(),
        block: "PRIVATE KEY`, `RSA PRIVATE KEY` or `EC PRIVATE KEY",
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

    use super::*;

    /// Good for the 1st to the 9th of January 1970.
    fn certificate(usage: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(1970, 1, 9);
        params.extended_key_usages = vec![usage];
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        signed.der().clone()
    }

    #[test]
    fn a_certificate_that_no_client_will_believe_is_complained_about() {
        let complaint = |usage, day: u64| {
            let now = UnixTime::since_unix_epoch(Duration::from_secs((day - 1) * 86_400));
            complaint(&[certificate(usage)], now)
        };

        assert_eq!(complaint(ExtendedKeyUsagePurpose::ServerAuth, 5), None);
        assert_eq!(
            complaint(ExtendedKeyUsagePurpose::ServerAuth, 11),
            Some("it has expired")
        );
        assert_eq!(
            complaint(ExtendedKeyUsagePurpose::ClientAuth, 5),
            Some("its extended key usage is not that of a server")
        );
    }
}
