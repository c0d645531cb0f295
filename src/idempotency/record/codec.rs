//! How a record becomes bytes: a format byte, a checksum, a protobuf message.
//!
//! A store keeps the bytes without reading them. The checksum turns a flipped byte into an error; without it a reply
//! could come back with another ARN.

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{Claim, Record};
use crate::idempotency::{Fingerprint, Marker, seal};

/// The format of the bytes. A release that does not know a format refuses the record.
const FORMAT: u8 = 1;
const CHECKSUM: usize = 8;

/// Bytes that are no record of this release.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Another release wrote it.
    #[error("the record has format {0}, this release knows {FORMAT}")]
    Format(u8),
    /// Another process sealed it.
    #[error("the record is sealed; set store_key_file to the file with its key")]
    Sealed,
    /// The bytes changed since they were written.
    #[error("the record is damaged")]
    Damaged,
}

#[derive(Clone, PartialEq, Message)]
struct Stored {
    #[prost(bytes = "vec", tag = "1")]
    fingerprint: Vec<u8>,
    #[prost(oneof = "State", tags = "2, 3, 4")]
    state: Option<State>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum State {
    #[prost(message, tag = "2")]
    InFlight(InFlight),
    #[prost(message, tag = "3")]
    Succeeded(Succeeded),
    #[prost(message, tag = "4")]
    Unknown(Unknown),
}

#[derive(Clone, PartialEq, Message)]
struct InFlight {
    #[prost(bytes = "vec", tag = "1")]
    claim: Vec<u8>,
    #[prost(uint64, tag = "2")]
    lease_until: u64,
    #[prost(uint64, tag = "3")]
    first_sent: u64,
    /// Empty for none, also in records of releases that knew no marker.
    #[prost(bytes = "vec", tag = "4")]
    marker: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Succeeded {
    #[prost(bytes = "bytes", tag = "1")]
    reply: Bytes,
    #[prost(uint64, tag = "2")]
    recorded_at: u64,
    #[prost(uint64, tag = "3")]
    expires: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(uint64, tag = "1")]
    first_sent: u64,
    #[prost(bytes = "vec", tag = "2")]
    marker: Vec<u8>,
}

impl Record {
    /// How many bytes a record has beside its reply, at most: format, checksum, fingerprint, times and their tags,
    /// and what a seal adds.
    pub const OVERHEAD: usize = 128;

    /// The record's bytes, for a store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let state = match self {
            Self::InFlight {
                claim,
                lease_until,
                first_sent,
                marker,
                ..
            } => State::InFlight(InFlight {
                claim: claim.0.to_vec(),
                lease_until: *lease_until,
                first_sent: *first_sent,
                marker: marker_bytes(*marker),
            }),
            Self::Succeeded {
                reply,
                recorded_at,
                expires,
                ..
            } => State::Succeeded(Succeeded {
                reply: reply.clone(),
                recorded_at: *recorded_at,
                expires: *expires,
            }),
            Self::Unknown {
                first_sent, marker, ..
            } => State::Unknown(Unknown {
                first_sent: *first_sent,
                marker: marker_bytes(*marker),
            }),
        };
        let message = Stored {
            fingerprint: self.fingerprint().as_bytes().to_vec(),
            state: Some(state),
        }
        .encode_to_vec();

        let mut bytes = Vec::with_capacity(1 + CHECKSUM + message.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&checksum(&message));
        bytes.extend_from_slice(&message);
        bytes.into()
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] if these are not the bytes that this release, or one with the same format, wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (format, rest) = bytes.split_first().ok_or(Unreadable::Damaged)?;
        match *format {
            FORMAT => {}
            seal::FORMAT => return Err(Unreadable::Sealed),
            other => return Err(Unreadable::Format(other)),
        }
        let (sum, message) = rest.split_first_chunk::<CHECKSUM>().ok_or(Unreadable::Damaged)?;
        if *sum != checksum(message) {
            return Err(Unreadable::Damaged);
        }
        let stored = Stored::decode(message).map_err(|_| Unreadable::Damaged)?;
        let fingerprint = Fingerprint::from_bytes(fixed(stored.fingerprint)?);
        match stored.state.ok_or(Unreadable::Damaged)? {
            State::InFlight(it) => Ok(Self::InFlight {
                fingerprint,
                claim: Claim(fixed(it.claim)?),
                lease_until: it.lease_until,
                first_sent: it.first_sent,
                marker: marker(it.marker)?,
            }),
            State::Succeeded(it) => Ok(Self::Succeeded {
                fingerprint,
                reply: it.reply,
                recorded_at: it.recorded_at,
                expires: it.expires,
            }),
            State::Unknown(it) => Ok(Self::Unknown {
                fingerprint,
                first_sent: it.first_sent,
                marker: marker(it.marker)?,
            }),
        }
    }
}

fn marker_bytes(marker: Option<Marker>) -> Vec<u8> {
    marker
        .map(|marker| marker.as_bytes().to_vec())
        .unwrap_or_default()
}

fn marker(bytes: Vec<u8>) -> Result<Option<Marker>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    fixed(bytes).map(Marker::from_bytes).map(Some)
}

fn fixed<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable::Damaged)
}

fn checksum(message: &[u8]) -> [u8; CHECKSUM] {
    let hash: [u8; 32] = Sha256::digest(message).into();
    let mut sum = [0; CHECKSUM];
    for (to, from) in sum.iter_mut().zip(hash) {
        *to = from;
    }
    sum
}
