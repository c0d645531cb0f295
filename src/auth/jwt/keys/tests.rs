use serde_json::json;

use super::{
    super::issuer::{SigningKey, jwks},
    *,
};

/// What the set of `keys` answers about a token: `known`, `unknown`, or why the token is wrong.
fn find(keys: &Value, token: &str) -> Result<&'static str, &'static str> {
    let set = KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let token = Token::parse(token.as_bytes()).ok().unwrap();
    let found = match set.find(&token) {
        Ok(Found::Key(key)) => key.verify(&token).map(|()| "verified"),
        Ok(Found::UnknownKid) => Ok("unknown"),
        Err(wrong) => Err(wrong),
    };
    found.map_err(|Wrong(why)| why)
}

fn fault(body: &str) -> String {
    KeySet::parse(body.as_bytes()).err().unwrap()
}

#[test]
fn each_type_of_key_verifies_what_it_signed_and_nothing_else() {
    let keys = [
        SigningKey::rsa("rsa"),
        SigningKey::rsa_pss("pss"),
        SigningKey::p256("p256"),
        SigningKey::p384("p384"),
        SigningKey::ed25519("ed"),
    ];
    let published: Value = serde_json::from_str(&jwks(&keys.each_ref())).unwrap();
    for key in &keys {
        let token = key.token(&json!({"a": 1}));
        assert_eq!(
            find(&published["keys"], &token),
            Ok("verified"),
            "{}",
            key.algorithm
        );

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let other_claims = URL_SAFE_NO_PAD.encode(r#"{"a":2}"#);
        let changed = format!("{header}.{other_claims}.{signature}");
        assert_eq!(
            find(&published["keys"], &changed),
            Err("its signature does not verify"),
            "{}",
            key.algorithm
        );
    }
}

#[test]
fn the_algorithm_of_the_header_must_fit_the_key_that_it_names() {
    let (rsa, ec) = (SigningKey::rsa("same"), SigningKey::p256("same"));

    let other_type = find(&json!([ec.jwk()]), &rsa.token(&json!({})));
    // An algorithm of the type, but not the one that the key is published for.
    let mut pss_only = rsa.jwk();
    pss_only["alg"] = json!("PS256");
    let other_algorithm = find(&json!([pss_only]), &rsa.token(&json!({})));
    // As secret, the key would be known to everybody.
    let secret = super::super::issuer::hs256(&rsa.public(), r#"{"alg":"HS256","kid":"same"}"#, "{}");
    let symmetric = find(&json!([rsa.jwk()]), &secret);

    assert_eq!(other_type, Err("its algorithm does not fit its key"));
    assert_eq!(other_algorithm, Err("its algorithm does not fit its key"));
    assert_eq!(symmetric, Err("its algorithm does not fit its key"));
    // Two types of key may share an id (RFC 7517, 4.5): the algorithm tells them apart.
    assert_eq!(
        find(&json!([ec.jwk(), rsa.jwk()]), &rsa.token(&json!({}))),
        Ok("verified")
    );
}

#[test]
fn a_token_without_a_key_id_is_taken_only_where_one_key_fits() {
    let (one, two, rsa) = (
        SigningKey::p256("one"),
        SigningKey::p256("two"),
        SigningKey::rsa("rsa"),
    );
    let token = one.sign(r#"{"alg":"ES256"}"#, "{}");

    assert_eq!(find(&json!([one.jwk(), rsa.jwk()]), &token), Ok("verified"));
    assert_eq!(
        find(&json!([one.jwk(), two.jwk()]), &token),
        Err("it names no key, and several fit")
    );
    assert_eq!(
        find(&json!([rsa.jwk()]), &token),
        Err("it names no key, and none fits")
    );
}

#[test]
fn a_key_id_is_compared_to_the_letter() {
    let key = SigningKey::p256("key-1");
    for kid in ["KEY-1", "key-1 ", "../key-1", "key-1\0", "' OR 1=1 --", "key"] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        assert_eq!(
            find(&json!([key.jwk()]), &key.sign(&header, "{}")),
            Ok("unknown"),
            "{kid:?}"
        );
    }
}

#[test]
fn of_two_keys_with_one_id_neither_is_used() {
    let (one, other, third) = (
        SigningKey::p256("k"),
        SigningKey::p256("k"),
        SigningKey::p256("third"),
    );

    assert_eq!(
        find(
            &json!([one.jwk(), other.jwk(), third.jwk()]),
            &one.token(&json!({}))
        ),
        Ok("unknown")
    );
    assert!(fault(&jwks(&[&one, &other])).contains("two keys have the same `kid`"));
}

#[test]
fn keys_that_must_not_verify_are_left_out_and_the_others_stay() {
    let good = SigningKey::p256("good");
    let (rsa, ec) = (SigningKey::rsa("rsa").jwk(), SigningKey::p256("ec").jwk());
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let small = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let padded_small = URL_SAFE_NO_PAD.encode([[0; 128], [0xff; 128]].concat());
    for (jwk, why) in [
        (with(&rsa, "use", json!("enc")), "`use`"),
        (with(&rsa, "key_ops", json!(["sign"])), "`key_ops`"),
        (with(&rsa, "alg", json!("RSA-OAEP")), "`alg`"),
        (with(&rsa, "alg", json!("HS256")), "`alg`"),
        (with(&rsa, "n", json!(small)), "2048"),
        (with(&rsa, "n", json!(padded_small)), "2048"),
        (with(&rsa, "n", json!("+/")), "base64url"),
        (with(&rsa, "n", json!(null)), "missing"),
        (with(&ec, "x", json!("AAAA")), "length"),
        (with(&ec, "crv", json!("P-521")), "not supported"),
        (with(&ec, "crv", json!("secp256k1")), "not supported"),
        (with(&ec, "kty", json!("oct")), "symmetric"),
        (json!({"kty": "oct", "k": "c2VjcmV0"}), "symmetric"),
        (json!({"kty": 1}), "form"),
        (json!("key"), "form"),
    ] {
        let body = json!({"keys": [jwk, good.jwk()]}).to_string();
        let set = KeySet::parse(body.as_bytes()).unwrap();
        assert_eq!((set.len(), set.left_out.len()), (1, 1), "{jwk}");
        assert!(set.left_out[0].contains(why), "{jwk}: {:?}", set.left_out);
    }
}

#[test]
fn what_is_no_usable_set_is_refused() {
    let many: Vec<_> = (0..=MAX_KEYS)
        .map(|n| json!({"kty": "oct", "kid": n.to_string()}))
        .collect();
    for (body, why) in [
        ("", "no JWK set"),
        ("<html></html>", "no JWK set"),
        ("[]", "no JWK set"),
        ("{}", "no JWK set"),
        (r#"{"keys":{}}"#, "no JWK set"),
        (r#"{"keys":[]}"#, "no key that can verify"),
        (r#"{"keys":[{"kty":"oct","k":"eA"}]}"#, "symmetric"),
        (&json!({"keys": many}).to_string(), "more than 64"),
    ] {
        assert!(fault(body).contains(why), "{body}: {}", fault(body));
    }
}
