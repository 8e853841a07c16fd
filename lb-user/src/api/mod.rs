//! The HTTP/JSON interface over the unix socket: its types, its server, and the client that the command line uses.
#![forbid(unsafe_code)]

pub mod types;
