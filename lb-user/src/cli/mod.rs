//! The command line: a client of the API, and the entry points of the daemon.
#![forbid(unsafe_code)]
