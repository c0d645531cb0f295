//! Reads a query string, where operations with the DELETE method have their parameters.

use serde_json::{Map, Value};

/// The parameters, decoded. What is not UTF-8 after decoding becomes the replacement character.
pub(super) fn parse(query: &str) -> Map<String, Value> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), Value::from(decode(value)))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if let (Some(high), Some(low)) = (digit(*high), digit(*low)) => {
                decoded.push(high << 4 | low);
                rest = behind;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let parsed = parse("resourceShareArn=arn%3Aaws%3Aram&clientToken=a+b&flag&");
        assert_eq!(
            Value::Object(parsed),
            json!({"resourceShareArn": "arn:aws:ram", "clientToken": "a b", "flag": ""})
        );
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(
            Value::Object(parse("a=%&b=%4&c=%zz&d=%ff")),
            json!({"a": "%", "b": "%4", "c": "%zz", "d": "\u{fffd}"})
        );
    }
}
