//! The compact form of a signed token (RFC 7515, 7.1), read strictly and before anything is known to be true of it.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::{Wrong, json::Object};

/// Longest key id, in bytes. Thumbprints take 43, providers' own ids less than 100.
const MAX_KID: usize = 256;

/// A token in three parts, of which nothing is proven.
pub(super) struct Token<'a> {
    /// What the signature covers: header, dot and claims as they were sent.
    pub(super) signed: &'a str,
    /// The signature in base64url.
    pub(super) signature: &'a str,
    /// The algorithm of the header.
    pub(super) algorithm: Algorithm,
    /// The key id of the header.
    pub(super) kid: Option<String>,
    /// The claims.
    pub(super) claims: Object,
}

/// Returns whether `token` looks like a JWT: an object of JSON in base64url, and two or more dots.
///
/// Decides which verifier sees a token, so encrypted and misshapen ones look like one too.
pub(in crate::auth) fn has_jwt_form(token: &[u8]) -> bool {
    // `{` and a quote or blank come out as `ey`, `{` and a tab or line break as `ew`.
    let is_object = token.starts_with(b"ey") || token.starts_with(b"ew");
    is_object && token.iter().filter(|byte| **byte == b'.').count() >= 2
}

impl<'a> Token<'a> {
    /// Reads the form of a token. Its length is the caller's to bound.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Wrong> {
        let text = str::from_utf8(text).map_err(|_not_text| Wrong("it is not text"))?;
        let (signed, signature) = text.rsplit_once('.').ok_or(Wrong("it has no three parts"))?;
        let (header, claims) = signed.split_once('.').ok_or(Wrong("it has no three parts"))?;
        if claims.contains('.') {
            return Err(Wrong("it has more than three parts"));
        }
        if signature.is_empty() {
            return Err(Wrong("it has no signature"));
        }
        let header = object(header).ok_or(Wrong("its header is no base64url of a JSON object"))?;
        let claims = object(claims).ok_or(Wrong("its claims are no base64url of a JSON object"))?;
        // Header members that name a key or where to get one (jku, jwk, x5u, x5c) are not looked at: keys come from
        // the configured place only.
        Ok(Self {
            signed,
            signature,
            algorithm: algorithm(&header)?,
            kid: kid(&header)?,
            claims,
        })
    }
}

fn object(part: &str) -> Option<Object> {
    // Without padding, and no second way to write the last bits.
    Object::parse(&URL_SAFE_NO_PAD.decode(part).ok()?)
}

fn algorithm(header: &Object) -> Result<Algorithm, Wrong> {
    // What is critical changes what the token means (RFC 7515, 4.1.11), and no extension is known here.
    if header.get("crit").is_some() {
        return Err(Wrong("its header has `crit`"));
    }
    // A logout token or a proof of possession of the same issuer is no access token (RFC 8725, 3.11).
    let typ = header
        .get("typ")
        .map(|typ| typ.as_str().map(str::to_ascii_lowercase));
    if !matches!(
        typ.as_ref().map(Option::as_deref),
        None | Some(Some("jwt" | "at+jwt" | "application/at+jwt" | "application/jwt"))
    ) {
        return Err(Wrong("its header has another `typ` than JWT or at+jwt"));
    }
    if header.get("cty").is_some() {
        return Err(Wrong("its header has `cty`: it holds another token"));
    }
    header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(|alg| Algorithm::from_str(alg).ok())
        .ok_or(Wrong("its header has no known `alg`"))
}

fn kid(header: &Object) -> Result<Option<String>, Wrong> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if (1..=MAX_KID).contains(&kid.len()) => Ok(Some(kid.clone())),
        Some(_) => Err(Wrong("its `kid` is no text of 1 to 256 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    fn wrong(token: &str) -> &'static str {
        match Token::parse(token.as_bytes()) {
            Ok(_) => panic!("{token} was read"),
            Err(Wrong(why)) => why,
        }
    }

    fn with_header(header: &str) -> String {
        format!("{}.{}.c2ln", encoded(header), encoded("{}"))
    }

    #[test]
    fn the_three_parts_are_read_as_they_were_sent() {
        let text = format!(
            "{}.{}.c2ln",
            encoded(r#"{"alg":"ES256","kid":"k","typ":"at+JWT","jku":"https://evil","x5c":[],"jwk":{}}"#),
            encoded(r#"{"iss":"i"}"#)
        );

        let token = Token::parse(text.as_bytes()).ok().unwrap();

        assert_eq!(format!("{}.{}", token.signed, token.signature), text);
        assert_eq!(token.algorithm, Algorithm::ES256);
        assert_eq!(token.kid.as_deref(), Some("k"));
        assert_eq!(token.claims.get("iss"), Some(&Value::from("i")));
    }

    #[test]
    fn another_number_of_parts_is_refused() {
        let part = encoded("{}");
        for text in ["", ".", "..", &part, &format!("{part}.{part}")] {
            let _ = wrong(text);
        }
        assert!(wrong(&format!("{part}.{part}.")).contains("no signature"));
        assert!(wrong(&format!("{part}.{part}.{part}.{part}")).contains("more than three"));
        // An encrypted token has five.
        assert!(wrong(&format!("{part}..{part}.{part}.{part}")).contains("more than three"));
    }

    #[test]
    fn another_alphabet_padding_and_loose_bits_are_refused() {
        let good = encoded(r#"{"alg":"ES256","a":"??>"}"#);
        assert!(good.contains(['-', '_']), "{good}");
        for header in [
            good.replace('-', "+").replace('_', "/"),
            format!("{good}="),
            format!("{good}=="),
            // The last digit has bits to spare.
            encoded(r#"{"alg": "ES256"}"#).replace("fQ", "fR"),
        ] {
            let why = wrong(&format!("{header}.{}.c2ln", encoded("{}")));
            assert!(why.contains("header"), "{header}: {why}");
        }
    }

    #[test]
    fn a_header_that_means_more_than_is_known_here_is_refused() {
        for (header, why) in [
            (r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, "crit"),
            (r#"{"alg":"ES256","crit":[]}"#, "crit"),
            (r#"{"alg":"ES256","cty":"JWT"}"#, "cty"),
            (r#"{"alg":"ES256","typ":"logout+jwt"}"#, "typ"),
            (r#"{"alg":"ES256","typ":1}"#, "typ"),
            (r#"{"alg":"none"}"#, "alg"),
            (r#"{"alg":"es256"}"#, "alg"),
            (r#"{"alg":["ES256"]}"#, "alg"),
            ("{}", "alg"),
            (r#"{"alg":"ES256","alg":"ES256"}"#, "JSON"),
            (r#"{"alg":"ES256","kid":1}"#, "kid"),
            (r#"{"alg":"ES256","kid":""}"#, "kid"),
        ] {
            assert!(wrong(&with_header(header)).contains(why), "{header}");
        }
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(MAX_KID + 1));
        assert!(wrong(&with_header(&long)).contains("kid"));
    }

    #[test]
    fn the_form_alone_tells_a_jwt_from_other_tokens() {
        for json in ["{\"alg\":1}", "{ \"a\":1}", "{\n\"a\":1}", "{\t\"a\":1}", "{}"] {
            let token = format!("{}.x.", encoded(json));
            assert_eq!(has_jwt_form(token.as_bytes()), json != "{}", "{json}");
        }
        for token in ["", "eyJ", "a.b.c", "service.team.secret", "eyJhbGciOiJub25lIn0"] {
            assert!(!has_jwt_form(token.as_bytes()), "{token}");
        }
        // Encrypted ones too, which the verifier of JWTs then refuses.
        assert!(has_jwt_form(b"eyJ.a.b.c.d"));
    }
}
