//! The routes, and the two places where they are served: everything on the unix socket, `/metrics` alone on TCP.

use std::future::Future;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use tokio::net::{TcpListener, UnixListener};

use super::error::Failure;
use super::extract::{Body, Options};
use super::flows;
use super::peer::Peer;
use super::types::{
    AccessOptions, AccessPrefix, AddressStatus, ApiError, Change, ChangeOptions, ChangeResult, ConfigShow,
    DestStatus, ExplainReply, ExplainRequest, HealthOptions, HealthStatus, JournalEntry, PeersReport, Stats,
    Status, VipStatus,
};
use super::vrrp;
use crate::controller::ControllerHandle;
use crate::dataplane::Flow;

/// No request is longer.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

pub(super) type Reply<T> = Result<Json<T>, Failure>;
pub(super) type Controller = State<ControllerHandle>;

/// Serves everything on the unix socket until `stop` is ready; requests under way are finished.
///
/// # Errors
/// When the listener fails.
pub async fn serve_socket(
    listener: UnixListener,
    controller: ControllerHandle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = router(routes(), controller).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Serves `/metrics`, and nothing else, on TCP until `stop` is ready.
///
/// # Errors
/// When the listener fails.
pub async fn serve_metrics(
    listener: TcpListener,
    controller: ControllerHandle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let only = routes().into_iter().filter(|(path, _)| *path == "/metrics");
    let service = router(only.collect(), controller);
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Every path with its methods.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<ControllerHandle>)> {
    vec![
        ("/v1/status", get(status)),
        ("/v1/vips", get(vips)),
        // A vip's name may be ADDRESS:PORT/PROTOCOL, slash and all.
        ("/v1/vips/{*name}", get(vip)),
        ("/v1/backends", get(backends)),
        ("/v1/addresses", get(addresses)),
        ("/v1/health", get(health)),
        ("/v1/stats", get(stats)),
        ("/v1/vrrp", get(vrrp::status).post(vrrp::order)),
        ("/v1/fitness", get(vrrp::fitness)),
        ("/v1/peers", get(peers)),
        ("/v1/access", get(access)),
        ("/v1/flows", get(flows::flows)),
        ("/v1/flows/count", get(flows::count)),
        ("/v1/flows/export", get(flows::export)),
        ("/v1/flows/import", flows::import_route()),
        ("/v1/config", get(config)),
        ("/v1/changes", get(journal).post(change)),
        ("/v1/reload", post(reload)),
        ("/v1/explain", post(explain)),
        ("/v1/openapi.json", get(openapi)),
        ("/metrics", get(metrics)),
    ]
}

fn router(
    routes: Vec<(&'static str, MethodRouter<ControllerHandle>)>,
    controller: ControllerHandle,
) -> Router {
    let router =
        routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(controller)
}

async fn unknown_path(uri: Uri) -> Failure {
    let error =
        format!("there is no {}; /v1/openapi.json on the daemon's socket lists all paths", uri.path());
    Failure::new(StatusCode::NOT_FOUND, error)
}

async fn wrong_method(method: Method, uri: Uri) -> Failure {
    let error = format!("{} does not take {method}; see /v1/openapi.json", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, error)
}

/// The instance, its interfaces and all vips.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = Status)))]
pub(super) async fn status(State(controller): Controller) -> Reply<Status> {
    Ok(Json(controller.status().await?))
}

/// All vips with their backends and counters.
#[utoipa::path(get, path = "/v1/vips", responses((status = 200, body = Vec<VipStatus>)))]
pub(super) async fn vips(State(controller): Controller) -> Reply<Vec<VipStatus>> {
    Ok(Json(controller.status().await?.vips))
}

/// One vip, by name or as ADDRESS:PORT/PROTOCOL.
#[utoipa::path(
    get,
    path = "/v1/vips/{name}",
    params(("name" = String, Path, description = "Name, or ADDRESS:PORT/PROTOCOL")),
    responses((status = 200, body = VipStatus), (status = 404, body = ApiError))
)]
pub(super) async fn vip(State(controller): Controller, Path(name): Path<String>) -> Reply<VipStatus> {
    Ok(Json(controller.vip(name).await?))
}

/// All backends, once for each vip, and each route of a vip, that has them.
#[utoipa::path(get, path = "/v1/backends", responses((status = 200, body = Vec<DestStatus>)))]
pub(super) async fn backends(State(controller): Controller) -> Reply<Vec<DestStatus>> {
    let vips = controller.status().await?.vips;
    let all = |vip: VipStatus| {
        let of_routes = vip.routes.into_iter().flat_map(|route| route.backends);
        vip.backends.into_iter().chain(of_routes)
    };
    Ok(Json(vips.into_iter().flat_map(all).collect()))
}

/// What checks say of the vips' backends, with the last results and transitions.
#[utoipa::path(
    get,
    path = "/v1/health",
    params(HealthOptions),
    responses((status = 200, body = Vec<HealthStatus>), (status = 404, description = "No such vip", body = ApiError))
)]
pub(super) async fn health(
    State(controller): Controller,
    Options(options): Options<HealthOptions>,
) -> Reply<Vec<HealthStatus>> {
    Ok(Json(controller.health(options.vip).await?))
}

/// Copies of other nodes' flows that are held here, and of this node's that they hold.
#[utoipa::path(get, path = "/v1/peers", responses((status = 200, body = PeersReport)))]
pub(super) async fn peers(State(controller): Controller) -> Reply<PeersReport> {
    Ok(Json(controller.peers().await?))
}

/// The vips' addresses: who answers for them, where they are announced, and what is in the way.
#[utoipa::path(get, path = "/v1/addresses", responses((status = 200, body = Vec<AddressStatus>)))]
pub(super) async fn addresses(State(controller): Controller) -> Reply<Vec<AddressStatus>> {
    Ok(Json(controller.addresses().await?))
}

/// All counters.
#[utoipa::path(get, path = "/v1/stats", responses((status = 200, body = Stats)))]
pub(super) async fn stats(State(controller): Controller) -> Reply<Stats> {
    Ok(Json(controller.stats().await?))
}

/// The prefixes of access lists and routes, with the packets that each has decided about; most first.
#[utoipa::path(
    get,
    path = "/v1/access",
    params(AccessOptions),
    responses(
        (status = 200, body = Vec<AccessPrefix>),
        (status = 404, description = "No such vip", body = ApiError),
    )
)]
pub(super) async fn access(
    State(controller): Controller,
    Options(options): Options<AccessOptions>,
) -> Reply<Vec<AccessPrefix>> {
    Ok(Json(controller.access(options).await?))
}

/// The running configuration, and where each value comes from.
#[utoipa::path(get, path = "/v1/config", responses((status = 200, body = ConfigShow)))]
pub(super) async fn config(State(controller): Controller) -> Reply<ConfigShow> {
    Ok(Json(controller.config().await?))
}

/// The journal of runtime changes, oldest first.
#[utoipa::path(get, path = "/v1/changes", responses((status = 200, body = Vec<JournalEntry>)))]
pub(super) async fn journal(State(controller): Controller) -> Reply<Vec<JournalEntry>> {
    Ok(Json(controller.journal().await?))
}

/// Changes something at run time. Durable and in force when the reply comes.
#[utoipa::path(
    post,
    path = "/v1/changes",
    params(ChangeOptions),
    request_body = Change,
    responses(
        (status = 200, body = ChangeResult),
        (status = 400, description = "The request is not understood", body = ApiError),
        (status = 404, description = "No such vip or backend", body = ApiError),
        (status = 409, description = "Refused; nothing has changed", body = ApiError),
    )
)]
pub(super) async fn change(
    State(controller): Controller,
    ConnectInfo(Peer(caller)): ConnectInfo<Peer>,
    Options(options): Options<ChangeOptions>,
    Body(change): Body<Change>,
) -> Reply<ChangeResult> {
    Ok(Json(controller.change(change, caller, options.dry_run).await?))
}

/// Reads the configuration file anew; all or nothing.
#[utoipa::path(
    post,
    path = "/v1/reload",
    params(ChangeOptions),
    responses(
        (status = 200, body = ChangeResult),
        (status = 400, description = "The request is not understood", body = ApiError),
        (status = 409, description = "The dataplane refuses; nothing has changed", body = ApiError),
        (status = 422, description = "The file is not valid; nothing has changed", body = ApiError),
    )
)]
pub(super) async fn reload(
    State(controller): Controller,
    Options(options): Options<ChangeOptions>,
) -> Reply<ChangeResult> {
    Ok(Json(controller.reload(options.dry_run).await?))
}

/// Runs a packet of a flow through the attached program, changing no state, and says where it goes and why.
#[utoipa::path(
    post,
    path = "/v1/explain",
    request_body = ExplainRequest,
    responses(
        (status = 200, body = ExplainReply),
        (status = 400, description = "The request is not understood", body = ApiError),
    )
)]
pub(super) async fn explain(
    State(controller): Controller,
    Body(request): Body<ExplainRequest>,
) -> Reply<ExplainReply> {
    if request.source.is_ipv4() != request.destination.is_ipv4() {
        let error = format!(
            "{} and {} are of different address families; no packet has both",
            request.source.ip(),
            request.destination.ip()
        );
        return Err(Failure::new(StatusCode::BAD_REQUEST, error));
    }
    let flow = Flow { source: request.source, destination: request.destination, protocol: request.protocol };
    Ok(Json(controller.explain(flow).await?))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, content_type = "application/json")))]
pub(super) async fn openapi() -> impl IntoResponse {
    Json(super::openapi::document())
}

/// Metrics for Prometheus, in OpenMetrics text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub(super) async fn metrics(State(controller): Controller) -> Result<impl IntoResponse, Failure> {
    let snapshot = controller.metrics().await?;
    let text = super::metrics::render(&snapshot)
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], text))
}
