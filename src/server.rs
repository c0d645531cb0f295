//! The server.

pub mod connections;
