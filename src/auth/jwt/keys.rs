//! The keys that an issuer publishes (RFC 7517), of which only those that can verify are kept.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Wrong, token::Token};

/// Most keys that a set may have. Issuers publish two to five.
const MAX_KEYS: usize = 64;

/// An issuer's keys at one time.
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Tells one publication from another.
    pub(super) digest: [u8; 32],
    /// What was left out, for the log.
    pub(super) left_out: Vec<String>,
}

struct Key {
    kid: Option<String>,
    /// The algorithms that it may verify: all that its type can, or the one that it is published for.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What a search for a token's key comes to.
pub(super) enum Found<'a> {
    /// The one key that fits.
    Key(Verifier<'a>),
    /// The set has no such key id; a newer set may.
    UnknownKid,
}

/// A key that fits a token's key id and algorithm.
pub(super) struct Verifier<'a>(&'a DecodingKey);

impl Verifier<'_> {
    /// Checks the token's signature.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), Wrong> {
        match crypto::verify(token.signature, token.signed.as_bytes(), self.0, token.algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Wrong("its signature does not verify")),
        }
    }
}

impl KeySet {
    /// Reads a JWK set.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it. A set without a usable key is wrong, too: it is far more often a
    /// fault than somebody's wish.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<Value>,
        }

        let published: Published =
            serde_json::from_slice(body).map_err(|_json| "it is no JWK set in JSON".to_owned())?;
        if published.keys.len() > MAX_KEYS {
            return Err(format!(
                "it has {} keys, more than {MAX_KEYS}",
                published.keys.len()
            ));
        }
        let mut keys = Vec::new();
        let mut left_out = Vec::new();
        for (index, jwk) in published.keys.into_iter().enumerate() {
            match usable(jwk) {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(format!("key {}: {why}", index + 1)),
            }
        }
        drop_ambiguous(&mut keys, &mut left_out);
        if keys.is_empty() {
            let reasons = left_out.join("; ");
            return Err(format!("it has no key that can verify a token ({reasons})"));
        }
        Ok(Self {
            keys,
            digest: Sha256::digest(body).into(),
            left_out,
        })
    }

    /// How many keys it has.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Looks for the one key that may have signed `token`.
    pub(super) fn find(&self, token: &Token<'_>) -> Result<Found<'_>, Wrong> {
        let fits = |key: &&Key| key.algorithms.contains(&token.algorithm);
        let Some(kid) = &token.kid else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(Found::Key(Verifier(&only.decoding))),
                (None, _) => Err(Wrong("it names no key, and none fits")),
                (Some(_), Some(_)) => Err(Wrong("it names no key, and several fit")),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.kid.as_ref() == Some(kid));
        match (named.clone().find(fits), named.next()) {
            (Some(key), _) => Ok(Found::Key(Verifier(&key.decoding))),
            (None, Some(_)) => Err(Wrong("its algorithm does not fit its key")),
            (None, None) => Ok(Found::UnknownKid),
        }
    }
}

/// Leaves out keys of which two have one id and can verify the same: which one is meant would be a guess.
fn drop_ambiguous(keys: &mut Vec<Key>, left_out: &mut Vec<String>) {
    let clashes = |a: &Key, b: &Key| {
        a.kid.is_some() && a.kid == b.kid && a.algorithms.iter().any(|alg| b.algorithms.contains(alg))
    };
    let twice: Vec<bool> = keys
        .iter()
        .map(|key| keys.iter().filter(|other| clashes(key, other)).count() > 1)
        .collect();
    let mut clashing = twice.iter();
    keys.retain(|_key| clashing.next() != Some(&true));
    if twice.contains(&true) {
        left_out.push("two keys have the same `kid` and type; neither is used".to_owned());
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn usable(jwk: Value) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_value(jwk).map_err(|_form| "it has not the form of a key")?;
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return Err("its `use` is not `sig`");
    }
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if jwk.key_ops.as_ref().is_some_and(|ops| !verifies(ops)) {
        return Err("its `key_ops` lack `verify`");
    }
    let (decoding, mut algorithms) = material(&jwk)?;
    if let Some(alg) = &jwk.alg {
        // Also names like RSA-OAEP, which leave nothing.
        algorithms.retain(|algorithm| alg.parse().is_ok_and(|named: Algorithm| named == *algorithm));
        if algorithms.is_empty() {
            return Err("its `alg` does not fit its type");
        }
    }
    Ok(Key {
        kid: jwk.kid,
        algorithms,
        decoding,
    })
}

fn material(jwk: &Jwk) -> Result<(DecodingKey, Vec<Algorithm>), &'static str> {
    let bytes = |member: &Option<String>| {
        let text = member.as_ref().ok_or("a part of it is missing")?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_form| "a part of it is no base64url")
    };
    let of_length = |member, length: usize| match bytes(member) {
        Ok(bytes) if bytes.len() != length => Err("a part of it has a wrong length"),
        other => other,
    };
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (bytes(&jwk.n)?, bytes(&jwk.e)?);
            // RFC 7518, 3.3 asks for 2048; 8192 is what the verifier takes.
            if !(2_048..=8_192).contains(&bits(&modulus)) {
                return Err("its modulus has not 2048 to 8192 bits");
            }
            let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
            Ok((key, AlgorithmFamily::Rsa.algorithms().to_vec()))
        }
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let (length, algorithm) = match curve {
                "P-256" => (32, Algorithm::ES256),
                _ => (48, Algorithm::ES384),
            };
            // SEC 1, 2.3.3: 4 says that both coordinates follow.
            let mut point = vec![4];
            point.extend(of_length(&jwk.x, length)?);
            point.extend(of_length(&jwk.y, length)?);
            Ok((DecodingKey::from_ec_der(&point), vec![algorithm]))
        }
        ("OKP", Some("Ed25519")) => {
            let key = DecodingKey::from_ed_der(&of_length(&jwk.x, 32)?);
            Ok((key, vec![Algorithm::EdDSA]))
        }
        // A secret that is published is none.
        ("oct", _) => Err("it is symmetric"),
        _ => Err("its type or curve is not supported"),
    }
}

fn bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros).map_or(0, |byte| byte.leading_zeros());
    (modulus.len() - zeros) * 8 - usize::try_from(first).unwrap_or_default()
}

#[cfg(test)]
mod tests;
