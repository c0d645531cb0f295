//! The file of issuers: whose tokens are believed, and what must stand in them.
//!
//! TOML with an `[[issuer]]` table for each; `docs/auth.md` lists the keys. Every fault is reported at once, each
//! naming the issuer, the key and the rule.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use http::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use toml::{Table, Value};

/// Default leeway, in seconds. Clocks that are kept by NTP differ by less than one; a machine that was suspended needs
/// a few to catch up. More would only lengthen the life of stolen tokens.
const LEEWAY: i64 = 10;

/// What other verifiers vouch by: their callers must not meet an issuer's.
const RESERVED: [&str; 3] = ["none", "static-token", "dns-san"];

/// Longest text of the file, in bytes, where no other limit applies.
const MAX_TEXT: usize = 2_048;

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// A JWK set behind an URL.
    Url {
        url: Uri,
        /// Who may vouch for the server. `None`: the system's authorities.
        ca_file: Option<PathBuf>,
        /// A bearer token for the server, read for each fetch.
        token_file: Option<PathBuf>,
    },
    /// A JWK set in a file.
    File(PathBuf),
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Issuer {
    /// Its name, as `iss` has it. Also the name under which callers are known: it must never change.
    pub(super) issuer: String,
    /// Names of this service; a token must be for one of them.
    pub(super) audiences: Vec<String>,
    /// Algorithms that it signs with.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) keys: KeySource,
    /// The claim that names the caller. Default `sub`.
    pub(super) subject_claim: String,
    /// What policies may know besides: a name, and the JSON pointer to its claim.
    pub(super) attributes: BTreeMap<String, String>,
    /// How far the issuer's clock and ours may differ. Range 0 to 60 s. Default 10.
    pub(super) leeway: Duration,
}

/// Reads the text of a file.
///
/// # Errors
/// Every fault, as a sentence.
pub(super) fn parse(text: &str) -> Result<Vec<Issuer>, Vec<String>> {
    let mut file: Table = text
        .parse()
        // The place and the rule, without the lines around it.
        .map_err(|error: toml::de::Error| vec![format!("it is not TOML: {}", error.message())])?;
    let mut faults = Vec::new();
    let listed = match file.remove("issuer") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => {
            faults.push("it needs an [[issuer]] table for each issuer".to_owned());
            Vec::new()
        }
    };
    for key in file.keys() {
        faults.push(format!("`{key}` is no key; there are [[issuer]] tables only"));
    }
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, entry) in listed.into_iter().enumerate() {
        let Value::Table(table) = entry else {
            faults.push(format!("issuer {} must be an [[issuer]] table", index + 1));
            continue;
        };
        let mut reader = Reader::new(index, table);
        let issuer = reader.issuer();
        faults.append(&mut reader.faults);
        let Some(issuer) = issuer else { continue };
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            faults.push(format!(
                "issuer `{}`: issuer stands twice; put its audiences into one table",
                issuer.issuer
            ));
        }
        issuers.push(issuer);
    }
    if faults.is_empty() {
        Ok(issuers)
    } else {
        Err(faults)
    }
}

/// Takes the keys of one table, and notes what is wrong with them.
struct Reader {
    /// How faults name the table.
    name: String,
    table: Table,
    faults: Vec<String>,
}

impl Reader {
    fn new(index: usize, table: Table) -> Self {
        let name = match table.get("issuer") {
            Some(Value::String(name)) => format!("issuer `{}`", name.escape_debug()),
            _ => format!("issuer {}", index + 1),
        };
        Self {
            name,
            table,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, key: &str, rule: &str) {
        self.faults.push(format!("{}: {key} {rule}", self.name));
    }

    /// The issuer, unless something is wrong with it; every key is read in any case.
    fn issuer(&mut self) -> Option<Issuer> {
        if !self.table.contains_key("issuer") {
            self.fault("issuer", "must be set, to what its tokens have as `iss`");
        }
        let issuer = self.text("issuer");
        if issuer.as_deref().is_some_and(|name| RESERVED.contains(&name)) {
            self.fault("issuer", "is a name that this server uses itself");
        }
        let audiences = self.audiences();
        let algorithms = self.algorithms();
        let keys = self.keys();
        let subject_claim = self.text("subject_claim").unwrap_or_else(|| "sub".to_owned());
        let attributes = self.attributes();
        let leeway = self.leeway();
        for key in std::mem::take(&mut self.table).keys() {
            self.fault(key, "is no key; docs/auth.md lists them");
        }
        let read = Issuer {
            issuer: issuer?,
            audiences,
            algorithms,
            keys: keys?,
            subject_claim,
            attributes,
            leeway,
        };
        self.faults.is_empty().then_some(read)
    }

    /// A text of 1 to 2,048 bytes without control characters.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.table.remove(key)? {
            Value::String(text) if is_text(&text) => Some(text),
            _ => {
                self.fault(key, "must be a text of 1 to 2048 bytes");
                None
            }
        }
    }

    fn texts(&mut self, key: &str, rule: &str) -> Vec<String> {
        let listed: Option<Vec<String>> = match self.table.remove(key) {
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| item.as_str().filter(|text| is_text(text)).map(str::to_owned))
                .collect(),
            _ => None,
        };
        match listed {
            Some(texts) if !texts.is_empty() => texts,
            _ => {
                self.fault(key, rule);
                Vec::new()
            }
        }
    }

    fn audiences(&mut self) -> Vec<String> {
        self.texts(
            "audiences",
            "must be a list with at least one name that tokens for this service have as `aud`",
        )
    }

    fn algorithms(&mut self) -> Vec<Algorithm> {
        const RULE: &str = "must be a list with at least one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
                            ES384, EdDSA";
        let mut algorithms = Vec::new();
        for name in self.texts("algorithms", RULE) {
            match name.parse::<Algorithm>() {
                // With a shared secret, whoever can check a token can make one.
                Ok(algorithm) if algorithm.family() != AlgorithmFamily::Hmac => algorithms.push(algorithm),
                _ => self.fault("algorithms", &format!("has `{}`; it {RULE}", name.escape_debug())),
            }
        }
        algorithms
    }

    fn keys(&mut self) -> Option<KeySource> {
        let (has_url, has_file) = (
            self.table.contains_key("jwks_url"),
            self.table.contains_key("jwks_file"),
        );
        let ca_file = self.text("jwks_ca_file").map(PathBuf::from);
        let token_file = self.text("jwks_token_file").map(PathBuf::from);
        let url = self.text("jwks_url");
        let file = self.text("jwks_file");
        if has_url == has_file {
            self.fault("jwks_url", "or jwks_file must be set, and not both");
            return None;
        }
        if let Some(path) = file {
            if ca_file.is_some() || token_file.is_some() {
                self.fault("jwks_ca_file", "and jwks_token_file need jwks_url");
            }
            return Some(KeySource::File(path.into()));
        }
        let url: Uri = match url?.parse() {
            Ok(url) if is_safe(&url) => url,
            _ => {
                self.fault(
                    "jwks_url",
                    "must be an https URL; http is for loopback addresses only",
                );
                return None;
            }
        };
        if ca_file.is_some() && url.scheme_str() != Some("https") {
            self.fault("jwks_ca_file", "needs an https URL");
        }
        Some(KeySource::Url {
            url,
            ca_file,
            token_file,
        })
    }

    fn attributes(&mut self) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::new();
        let table = match self.table.remove("attributes") {
            None => return attributes,
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.fault("attributes", "must be a table of names and JSON pointers");
                return attributes;
            }
        };
        for (name, pointer) in table {
            let is_name = name.len() <= 64
                && name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            match pointer {
                Value::String(pointer) if is_name && is_text(&pointer) && pointer.starts_with('/') => {
                    attributes.insert(name, pointer);
                }
                _ => self.fault(
                    &format!("attributes.{}", name.escape_debug()),
                    "must be a name of letters, digits and _, and a JSON pointer like \"/kubernetes.io/namespace\"",
                ),
            }
        }
        attributes
    }

    fn leeway(&mut self) -> Duration {
        let seconds = match self.table.remove("leeway_s") {
            None => LEEWAY,
            Some(Value::Integer(seconds @ 0..=60)) => seconds,
            Some(_) => {
                self.fault("leeway_s", "must be a number from 0 to 60");
                LEEWAY
            }
        };
        Duration::from_secs(seconds.unsigned_abs())
    }
}

fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whoever can change what is fetched can let everybody in, so nothing is fetched in the open.
fn is_safe(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let is_loopback = || {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    };
    let names_user = url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    match url.scheme_str() {
        Some("https") => !host.is_empty() && !names_user,
        Some("http") => is_loopback() && !names_user,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
