//! The API over its socket: what is refused and how, the document, and the metrics.

mod document;
mod metrics;
mod refusals;
