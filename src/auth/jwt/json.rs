//! JSON in which no object names a member twice.
//!
//! Of two members with one name, readers take the first or the last (RFC 8259, 4): a token that says two things would
//! mean one to whoever issued it and another here. RFC 7519, 4 lets a reader refuse it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// An object of JSON without a name that stands twice, at any depth.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Reads an object, and nothing behind it. `None` for whatever else `text` is.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        match serde_json::from_slice(text).ok()? {
            Strict(Value::Object(members)) => Some(Self(members)),
            Strict(_) => None,
        }
    }

    /// The member `name`.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// What an RFC 6901 pointer other than the empty one leads to.
    pub(super) fn pointer(&self, pointer: &str) -> Option<&Value> {
        let (first, rest) = match pointer.strip_prefix('/')?.split_once('/') {
            Some((first, rest)) => (first, format!("/{rest}")),
            None => (pointer.strip_prefix('/')?, String::new()),
        };
        self.get(&first.replace("~1", "/").replace("~0", "~"))?
            .pointer(&rest)
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_as_everywhere_else() {
        let text = r#"{"a":[1,-2,0.5,true,null,"x\u0041"],"b":{"c":{}}}"#;

        let Object(members) = Object::parse(text.as_bytes()).unwrap();

        assert_eq!(
            Value::Object(members),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth_and_however_it_is_written() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert!(Object::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_pointer_leads_into_objects_and_lists() {
        let object = Object::parse(br#"{"a/b":{"~c":[1,2]},"":3,"x":4}"#).unwrap();

        assert_eq!(object.pointer("/a~1b/~0c/1"), Some(&Value::from(2)));
        assert_eq!(object.pointer("/x"), Some(&Value::from(4)));
        assert_eq!(object.pointer("/"), Some(&Value::from(3)));
        assert_eq!(object.pointer("/y"), None);
        assert_eq!(object.pointer("x"), None);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = "[".repeat(10_000);
        for text in [
            "",
            "[]",
            "1",
            "\"a\"",
            "{} {}",
            "{",
            "{\"a\":1e999}",
            "\u{feff}{}",
            &deep,
        ] {
            assert!(Object::parse(text.as_bytes()).is_none());
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_none());
    }
}
