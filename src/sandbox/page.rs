//! Cuts a list into pages and tells the reader where to go on.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::Refusal;

const DEFAULT_SIZE: usize = 100;
const LARGEST: i64 = 500;

/// Which part of a list a request asks for.
#[derive(Debug)]
pub(crate) struct Page {
    operation: &'static str,
    size: usize,
    // Items are numbered in the order they came to be; a page starts behind this number. So an item that appears or
    // disappears between two pages never shifts the others.
    after: u64,
}

impl Page {
    /// Reads `maxResults` and `nextToken`.
    pub(crate) fn parse(
        operation: &'static str,
        max_results: Option<i64>,
        next_token: Option<&str>,
    ) -> Result<Self, Refusal> {
        let size = match max_results {
            None => DEFAULT_SIZE,
            Some(n @ 1..=LARGEST) => usize::try_from(n).unwrap_or(DEFAULT_SIZE),
            Some(n) => {
                let message = format!("maxResults {n} is not valid. Specify a value from 1 to {LARGEST}.");
                return Err(Refusal::invalid_parameter(message));
            }
        };
        let after = match next_token {
            None => 0,
            Some(token) => place_of(operation, token).ok_or_else(|| {
                Refusal::invalid_next_token("The specified value for nextToken is not valid.")
            })?,
        };
        Ok(Self {
            operation,
            size,
            after,
        })
    }

    /// Takes this page out of `items`, which must be sorted by number and numbered from 1.
    pub(crate) fn cut(&self, items: impl IntoIterator<Item = (u64, Value)>) -> (Vec<Value>, Option<String>) {
        let mut rest = items
            .into_iter()
            .filter(|(number, _)| *number > self.after)
            .peekable();
        let mut page = Vec::new();
        let mut last = self.after;
        while page.len() < self.size
            && let Some((number, item)) = rest.next()
        {
            last = number;
            page.push(item);
        }
        let next = rest.peek().map(|_| token_for(self.operation, last));
        (page, next)
    }
}

fn token_for(operation: &str, place: u64) -> String {
    format!("{:016x}{place:016x}", seal(operation, place))
}

fn place_of(operation: &str, token: &str) -> Option<u64> {
    let (sealed, place) = token.split_at_checked(16)?;
    let place = u64::from_str_radix(place, 16).ok()?;
    // Compared as text: one place has exactly one token.
    (token_for(operation, place) == token && !sealed.is_empty()).then_some(place)
}

/// Makes a token opaque enough that nobody writes one by hand, and a token of one list useless for another.
fn seal(operation: &str, place: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(operation)
        .chain_update(place.to_be_bytes())
        .finalize();
    digest
        .first_chunk()
        .copied()
        .map(u64::from_be_bytes)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u64) -> impl Iterator<Item = (u64, Value)> {
        (1..=count).map(|n| (n, Value::from(n)))
    }

    #[test]
    fn pages_follow_each_other_and_the_last_has_no_token() {
        let (first, next) = Page::parse("L", Some(2), None).unwrap().cut(items(3));
        assert_eq!(first, [1, 2]);
        let (second, end) = Page::parse("L", Some(2), next.as_deref()).unwrap().cut(items(3));
        assert_eq!(second, [3]);
        assert_eq!(end, None);
    }

    #[test]
    fn a_page_that_is_exactly_full_is_the_last() {
        let (all, next) = Page::parse("L", Some(3), None).unwrap().cut(items(3));
        assert_eq!((all.len(), next), (3, None));
    }

    #[test]
    fn sizes_outside_1_to_500_are_refused() {
        for size in [0, -1, 501, i64::MAX] {
            let refusal = Page::parse("L", Some(size), None).unwrap_err();
            assert_eq!(refusal.code, "InvalidParameterException", "{size}");
        }
        assert!(Page::parse("L", Some(500), None).is_ok());
    }

    #[test]
    fn a_token_that_was_never_given_is_refused() {
        let foreign = token_for("Other", 1);
        for token in ["", "x", "é", "0000000000000000000000000000000g", foreign.as_str()] {
            let refusal = Page::parse("L", None, Some(token)).unwrap_err();
            assert_eq!(refusal.code, "InvalidNextTokenException", "{token:?}");
        }
    }
}
