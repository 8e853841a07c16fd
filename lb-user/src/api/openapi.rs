//! The OpenAPI document, generated from the handlers and types that serve it.

use utoipa::OpenApi;

use super::{flows, server, vrrp};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ferrolev",
        description = "Shows and changes a running Ferrolev balancer. Served on its unix socket; every reply that is not 2xx is an ApiError."
    ),
    paths(
        server::status,
        server::vips,
        server::vip,
        server::backends,
        server::addresses,
        server::health,
        server::stats,
        vrrp::status,
        vrrp::order,
        vrrp::fitness,
        server::peers,
        server::access,
        flows::flows,
        flows::count,
        flows::export,
        flows::import,
        server::config,
        server::journal,
        server::change,
        server::reload,
        server::explain,
        server::openapi,
        server::metrics,
    ),
    components(schemas(super::types::FlowDumpHead))
)]
struct Document;

/// The document that `GET /v1/openapi.json` serves.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
