//! AWS Resource Access Manager as a gRPC service.

pub mod pb;
pub mod sandbox;
