//! The form of `authorization: Bearer <token>`.

/// Longest token that is looked at, in bytes. All headers of a request together may take 16 KiB; an identity provider's
/// token with many groups takes 6 to 8.
pub(super) const MAX_TOKEN: usize = 12 * 1_024;

/// The token of `Bearer <token>` (RFC 6750, 2.1; RFC 9110, 11.2: token68).
pub(super) fn bearer_token(credential: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credential.split_first_chunk::<6>()?;
    let (b' ', token) = rest.split_first()? else {
        return None;
    };
    let body = without_padding(token);
    let fits = scheme.eq_ignore_ascii_case(b"bearer")
        && token.len() <= MAX_TOKEN
        && !body.is_empty()
        && body
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte));
    fits.then_some(token)
}

/// The token without its padding.
fn without_padding(mut token: &[u8]) -> &[u8] {
    while let [before @ .., b'='] = token {
        token = before;
    }
    token
}
