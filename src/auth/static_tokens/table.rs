//! The tokens of a file, by their hashes.

use std::fmt;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

use crate::call::{Caller, Proof};

/// Who vouches for the names in the file.
const ISSUER: &str = "static-token";

pub(super) const MAX_NAME: usize = 128;

/// What is wrong with one line of the file. It never quotes the line, in which a token may stand by mistake.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct Fault {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong, and what it should be.
    pub problem: String,
}

pub(super) type Hash = [u8; 32];

/// See the module.
pub struct Table(Vec<(Hash, Caller)>);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} tokens)", self.0.len())
    }
}

impl Table {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every faulty line, in the order of the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut entries: Vec<(usize, Hash, Caller)> = Vec::new();
        let mut faults = Vec::new();
        for (index, content) in text.lines().enumerate() {
            let line = index + 1;
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let parsed = parse_line(content).and_then(|(hash, caller)| {
                match entries.iter().find(|(_, known, _)| *known == hash) {
                    Some((earlier, _, _)) => Err(format!("the same hash stands in line {earlier}")),
                    None => Ok((line, hash, caller)),
                }
            });
            match parsed {
                Ok(entry) => entries.push(entry),
                Err(problem) => faults.push(Fault { line, problem }),
            }
        }
        if faults.is_empty() {
            Ok(Self(
                entries
                    .into_iter()
                    .map(|(_, hash, caller)| (hash, caller))
                    .collect(),
            ))
        } else {
            Err(faults)
        }
    }

    /// How many tokens it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whose token has this hash. Takes the same time whether and where it stands in the table.
    pub(super) fn find(&self, presented: &Hash) -> Option<&Caller> {
        let mut found = Choice::from(0);
        let mut position = 0_u64;
        for (index, (hash, _)) in (0_u64..).zip(&self.0) {
            let same = hash.ct_eq(presented);
            position.conditional_assign(&index, same);
            found |= same;
        }
        if !bool::from(found) {
            return None;
        }
        let (_, caller) = self.0.get(usize::try_from(position).ok()?)?;
        Some(caller)
    }
}

fn parse_line(content: &str) -> Result<(Hash, Caller), String> {
    let mut words = content.split_whitespace();
    let (Some(hash), Some(name), None) = (words.next(), words.next(), words.next()) else {
        return Err("must be a SHA-256 in 64 hex digits, a space and a name".to_owned());
    };
    let hash = parse_hash(hash).ok_or("the hash must be 64 hex digits")?;
    let fits = name.len() <= MAX_NAME
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte));
    if !fits {
        return Err(format!(
            "the name must be 1 to {MAX_NAME} letters, digits and ._:/@-"
        ));
    }
    Ok((hash, Caller::new(ISSUER, name).proven_by(Proof::StaticToken)))
}

fn parse_hash(text: &str) -> Option<Hash> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != size_of::<Hash>() {
        return None;
    }
    let mut hash = Hash::default();
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(hash)
}
