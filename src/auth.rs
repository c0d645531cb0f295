//! Who calls, and what they may do: the traits that the layers use, and their implementations.

pub mod policy;
