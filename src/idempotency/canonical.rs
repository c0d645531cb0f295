//! The canonical form of a request: two requests that mean the same to RAM have the same bytes.
//!
//! It is not the protobuf encoding, which may differ between releases, and which keeps orders that mean nothing.
//! Its bytes are pinned by tests: a release that changed them would refuse repetitions of requests that an older
//! release executed.

use super::lp;

const TEXT: u8 = 1;
const SET: u8 = 2;
const PAIRS: u8 = 3;
const FLAG: u8 = 4;
const NESTED: u8 = 5;

/// Writes the canonical form of a request, which its fingerprint covers.
///
/// A field is its tag, a byte for its kind, and its content behind its length. Nothing is trimmed or folded. Write
/// fields in the order of their tags, and only what differs from the default, so that an unset field and a default
/// that is spelled out are the same request.
#[derive(Debug)]
pub struct CanonicalWriter {
    bytes: Vec<u8>,
}

impl Default for CanonicalWriter {
    fn default() -> Self {
        // Room for most requests: one allocation.
        Self {
            bytes: Vec::with_capacity(1_024),
        }
    }
}

impl CanonicalWriter {
    /// Writes a text, nothing if it is empty.
    pub fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.field(tag, TEXT, |out| out.bytes.extend_from_slice(text.as_bytes()));
        }
    }

    /// Writes texts whose order and repetition mean nothing: sorted, each once; nothing if there are none.
    pub fn texts_as_set(&mut self, tag: u32, texts: &[String]) {
        if texts.is_empty() {
            return;
        }
        let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        self.field(tag, SET, |out| {
            for text in sorted {
                lp(&mut out.bytes, text.as_bytes());
            }
        });
    }

    /// Writes keys and values sorted by key; nothing if there are none. Pairs with equal keys keep their order.
    pub fn pairs_by_key<'a>(&mut self, tag: u32, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut sorted: Vec<_> = pairs.into_iter().collect();
        if sorted.is_empty() {
            return;
        }
        sorted.sort_by_key(|(key, _)| *key);
        self.field(tag, PAIRS, |out| {
            for (key, value) in sorted {
                lp(&mut out.bytes, key.as_bytes());
                lp(&mut out.bytes, value.as_bytes());
            }
        });
    }

    /// Writes a flag, whichever its value. The default is the operation's to know: it leaves the call out where unset
    /// and the value mean the same to RAM.
    pub fn flag(&mut self, tag: u32, flag: bool) {
        self.field(tag, FLAG, |out| out.bytes.push(u8::from(flag)));
    }

    /// Writes a message within the message, with tags of its own; nothing if it is empty.
    pub fn nested(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        let before = self.bytes.len();
        if self.field(tag, NESTED, write) == 0 {
            self.bytes.truncate(before);
        }
    }

    /// What was written so far.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes a field, whose content `write` writes behind the place of its length. Returns the length.
    fn field(&mut self, tag: u32, kind: u8, write: impl FnOnce(&mut Self)) -> u32 {
        self.bytes.extend_from_slice(&tag.to_be_bytes());
        self.bytes.push(kind);
        let place = self.bytes.len();
        lp(&mut self.bytes, &[]);
        let content = self.bytes.len();
        write(self);
        let length = u32::try_from(self.bytes.len() - content).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(place..content) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Text(u32, String),
        Set(u32, Vec<String>),
        Pairs(u32, Vec<(String, String)>),
        Flag(u32, bool),
        Nested(u32, Vec<Field>),
    }

    fn write(fields: &[Field], out: &mut CanonicalWriter) {
        for field in fields {
            match field {
                Field::Text(tag, text) => out.text(*tag, text),
                Field::Set(tag, texts) => out.texts_as_set(*tag, texts),
                Field::Pairs(tag, pairs) => {
                    out.pairs_by_key(*tag, pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())));
                }
                Field::Flag(tag, flag) => out.flag(*tag, *flag),
                Field::Nested(tag, fields) => out.nested(*tag, |out| write(fields, out)),
            }
        }
    }

    fn bytes(fields: &[Field]) -> Vec<u8> {
        let mut out = CanonicalWriter::default();
        write(fields, &mut out);
        out.as_bytes().to_vec()
    }

    /// The meaning of a list of fields, computed another way than by bytes: empty fields gone, sets and pairs in order.
    fn meaning(fields: &[Field]) -> Vec<Field> {
        let mut kept = Vec::new();
        for field in fields.iter().cloned() {
            match field {
                Field::Text(_, ref text) if text.is_empty() => {}
                Field::Set(_, ref texts) if texts.is_empty() => {}
                Field::Pairs(_, ref pairs) if pairs.is_empty() => {}
                Field::Set(tag, texts) => {
                    let set: std::collections::BTreeSet<_> = texts.into_iter().collect();
                    kept.push(Field::Set(tag, set.into_iter().collect()));
                }
                Field::Pairs(tag, mut pairs) => {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                    kept.push(Field::Pairs(tag, pairs));
                }
                Field::Nested(tag, fields) => {
                    let fields = meaning(&fields);
                    if !fields.is_empty() {
                        kept.push(Field::Nested(tag, fields));
                    }
                }
                other => kept.push(other),
            }
        }
        kept
    }

    /// Texts of few letters, among them the bytes that lengths and tags are made of, so that accidents are likely.
    fn text() -> impl Strategy<Value = String> {
        "[ab\\x00\\x01\\x02]{0,3}"
    }

    fn fields() -> impl Strategy<Value = Vec<Field>> {
        let tag = prop_oneof![Just(1_u32), Just(2), Just(0x0100_0000)];
        let flat = prop_oneof![
            (tag.clone(), text()).prop_map(|(t, s)| Field::Text(t, s)),
            (tag.clone(), prop::collection::vec(text(), 0..3)).prop_map(|(t, s)| Field::Set(t, s)),
            (tag.clone(), prop::collection::vec((text(), text()), 0..3))
                .prop_map(|(t, p)| Field::Pairs(t, p)),
            (tag.clone(), any::<bool>()).prop_map(|(t, b)| Field::Flag(t, b)),
        ];
        let field = flat.prop_recursive(2, 8, 3, move |inner| {
            (tag.clone(), prop::collection::vec(inner, 0..3)).prop_map(|(t, f)| Field::Nested(t, f))
        });
        prop::collection::vec(field, 0..4)
    }

    proptest! {
        #[test]
        fn two_requests_have_the_same_bytes_exactly_when_they_mean_the_same(a in fields(), b in fields()) {
            assert_eq!(bytes(&a) == bytes(&b), meaning(&a) == meaning(&b), "{a:?} {b:?}");
        }

        #[test]
        fn order_and_repetition_of_a_set_mean_nothing(
            texts in prop::collection::vec(text(), 1..5),
            seed in any::<u64>(),
        ) {
            let mut shuffled = texts.clone();
            let mut random = fastrand::Rng::with_seed(seed);
            shuffled.push(texts[random.usize(..texts.len())].clone());
            random.shuffle(&mut shuffled);

            assert_eq!(bytes(&[Field::Set(1, texts)]), bytes(&[Field::Set(1, shuffled)]));
        }

        #[test]
        fn order_of_pairs_means_nothing_when_keys_differ(
            pairs in prop::collection::btree_map(text(), text(), 1..5),
            seed in any::<u64>(),
        ) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let mut shuffled = pairs.clone();
            fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);

            assert_eq!(bytes(&[Field::Pairs(1, pairs)]), bytes(&[Field::Pairs(1, shuffled)]));
        }

        #[test]
        fn a_changed_text_changes_the_bytes(a in text(), b in text()) {
            assert_eq!(a == b, bytes(&[Field::Text(1, a)]) == bytes(&[Field::Text(1, b)]));
        }
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        let apart = [Field::Set(1, vec!["ab".into(), "c".into()])];
        let shifted = [Field::Set(1, vec!["a".into(), "bc".into()])];

        assert_ne!(bytes(&apart), bytes(&shifted));
    }

    #[test]
    fn the_bytes_of_every_kind_of_field_are_pinned() {
        let fields = [
            Field::Text(1, "n".into()),
            Field::Set(2, vec!["b".into(), "a".into(), "b".into()]),
            Field::Pairs(4, vec![("k".into(), "v".into())]),
            Field::Flag(5, false),
            Field::Nested(8, vec![Field::Flag(1, true)]),
        ];

        let golden: &[&[u8]] = &[
            b"\0\0\0\x01\x01\0\0\0\x01n",
            b"\0\0\0\x02\x02\0\0\0\x0a\0\0\0\x01a\0\0\0\x01b",
            b"\0\0\0\x04\x03\0\0\0\x0a\0\0\0\x01k\0\0\0\x01v",
            b"\0\0\0\x05\x04\0\0\0\x01\0",
            b"\0\0\0\x08\x05\0\0\0\x0a\0\0\0\x01\x04\0\0\0\x01\x01",
        ];
        assert_eq!(bytes(&fields), golden.concat());
    }
}
