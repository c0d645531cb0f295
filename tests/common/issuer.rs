//! Issuers of JWTs, with keys that are really generated. The unit tests of `auth::jwt` use it too.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA384,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key that signs, under the id `kid`.
pub struct SigningKey {
    pub kid: String,
    pub algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    pub fn rsa(kid: &str) -> Self {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key is made");
        Self::new(kid, "RS256", Pair::Rsa(pair))
    }

    pub fn rsa_pss(kid: &str) -> Self {
        let key = Self::rsa(kid);
        Self::new(kid, "PS384", key.pair)
    }

    pub fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key is made");
        Self::new(kid, "ES256", Pair::Ecdsa(pair))
    }

    pub fn p384(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key is made");
        Self::new(kid, "ES384", Pair::Ecdsa(pair))
    }

    pub fn ed25519(kid: &str) -> Self {
        Self::new(
            kid,
            "EdDSA",
            Pair::Ed(Ed25519KeyPair::generate().expect("a key is made")),
        )
    }

    fn new(kid: &str, algorithm: &'static str, pair: Pair) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithm,
            pair,
        }
    }

    /// The public half, as an issuer publishes it.
    pub fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let (modulus, exponent) = rsa_parts(pair);
                json!({"kty": "RSA", "n": encode(&modulus), "e": encode(&exponent)})
            }
            Pair::Ecdsa(pair) => {
                let (x, y) = match pair.public_key().as_ref().split_first() {
                    Some((4, point)) => point.split_at(point.len() / 2),
                    _ => panic!("not an uncompressed point"),
                };
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public half in DER, as somebody may use it for a secret by mistake.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token as an issuer makes it.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"});
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token with any header and claims, which need not be JSON.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let signed = signed_part(header, claims);
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = if self.algorithm == "PS384" {
                    pair.sign(&RSA_PSS_SHA384, &random, message, &mut signature)
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                };
                encoding.expect("it signs");
                signature
            }
            Pair::Ecdsa(pair) => pair.sign(&random, message).expect("it signs").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// A token under a shared secret.
pub fn hs256(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = signed_part(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn signed_part(header: &str, claims: &str) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    )
}

/// The set of these keys.
pub fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    json!({"keys": keys}).to_string()
}

/// Modulus and exponent out of an RSAPublicKey (RFC 8017, A.1.1): a sequence of two integers.
fn rsa_parts(pair: &rsa::KeyPair) -> (Vec<u8>, Vec<u8>) {
    fn take(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, rest) = match der {
            [_, 0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
            [_, 0x81, length, rest @ ..] | [_, length, rest @ ..] => (usize::from(*length), rest),
            _ => panic!("not DER"),
        };
        rest.split_at(length)
    }
    let (sequence, _) = take(pair.public_key().as_ref());
    let (modulus, rest) = take(sequence);
    let (exponent, _) = take(rest);
    let positive = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    (positive.to_vec(), exponent.to_vec())
}
