//! Names of askers and questions: hashes over everything that makes them what they are, each part with its length, so
//! that two are never taken for one.

use sha2::{Digest as _, Sha256};

use super::attributes::{Attribute, Value};
use crate::call::{Caller, Target};

/// A SHA-256.
pub(super) type Digest = [u8; 32];

/// Of all that policies can see of who asks, and where.
pub(super) fn asker(caller: &Caller, target: &Target) -> Digest {
    let mut hash = Hash(Sha256::new());
    for part in [caller.issuer(), caller.subject(), caller.proof().name()] {
        hash.text(part);
    }
    hash.length(caller.attributes().len());
    for (name, value) in caller.attributes() {
        hash.text(name);
        hash.texts(value.texts());
    }
    for part in [&target.partition, &target.account, &target.region] {
        hash.text(part);
    }
    hash.0.finalize().into()
}

/// Of a question to one set of policies, which look at the same attributes of every request. Their order is therefore
/// name enough.
pub(super) fn question(asker: &Digest, operation: &str, view: &[(&Attribute, Value<'_>)]) -> Digest {
    let mut hash = Hash(Sha256::new());
    hash.0.update(asker);
    hash.text(operation);
    for (_, value) in view {
        match value {
            Value::Bool(value) => hash.0.update([u8::from(*value)]),
            Value::Text(text) => hash.text(text),
            Value::Texts(texts) => hash.texts(texts),
            Value::Tags(tags) => {
                hash.length(tags.len());
                for (key, value) in *tags {
                    hash.text(key);
                    hash.text(value);
                }
            }
        }
    }
    hash.0.finalize().into()
}

struct Hash(Sha256);

impl Hash {
    fn length(&mut self, length: usize) {
        self.0.update(length.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.update(text);
    }

    fn texts<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>) {
        let texts = texts.into_iter();
        self.length(texts.len());
        for text in texts {
            self.text(text.as_ref());
        }
    }
}

#[cfg(test)]
mod tests;
