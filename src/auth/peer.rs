//! The other end of a connection, as the accept loop saw it.

use std::{net::SocketAddr, sync::Arc};

/// Who is at the other end. The accept loop puts it into the extensions of every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The client's own certificate in DER, if it sent one and its chain was verified.
    pub certificate: Option<Arc<[u8]>>,
}

/// Stands in the extensions of a request whose connection's certificate is not good any more: it was revoked, its
/// authority was dropped, or its time is over. Nothing that comes with the request proves anything then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn;
