//! The gRPC edge.

pub mod codec;
