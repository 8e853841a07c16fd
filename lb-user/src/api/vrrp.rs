//! The routes of virtual routers.

use axum::Json;
use axum::extract::{ConnectInfo, State};

use super::extract::{Body, Options};
use super::peer::Peer;
use super::server::{Controller, Reply};
use super::types::{ApiError, Fitness, VrrpDone, VrrpOptions, VrrpOrder, VrrpStatus};

/// Virtual routers: roles, priorities and why, other hosts, counters.
#[utoipa::path(
    get,
    path = "/v1/vrrp",
    params(VrrpOptions),
    responses(
        (status = 200, body = VrrpStatus),
        (status = 404, description = "Nothing has this name", body = ApiError),
    )
)]
pub(super) async fn status(
    State(controller): Controller,
    Options(options): Options<VrrpOptions>,
) -> Reply<VrrpStatus> {
    Ok(Json(controller.vrrp(options.name).await?))
}

/// Hands over, or says who has addresses that another program decides about. Done when the reply comes; not durable.
#[utoipa::path(
    post,
    path = "/v1/vrrp",
    request_body = VrrpOrder,
    responses(
        (status = 200, body = VrrpDone),
        (status = 400, description = "The request is not understood", body = ApiError),
        (status = 404, description = "Nothing has this name", body = ApiError),
        (status = 409, description = "This host is not master", body = ApiError),
        (status = 503, description = "Virtual routers do not answer", body = ApiError),
    )
)]
pub(super) async fn order(
    State(controller): Controller,
    ConnectInfo(Peer(caller)): ConnectInfo<Peer>,
    Body(order): Body<VrrpOrder>,
) -> Reply<VrrpDone> {
    Ok(Json(controller.vrrp_order(order, caller).await?))
}

/// Whether this host can forward, for programs that decide about a master.
#[utoipa::path(get, path = "/v1/fitness", responses((status = 200, body = Fitness)))]
pub(super) async fn fitness(State(controller): Controller) -> Reply<Fitness> {
    Ok(Json(controller.fitness().await?))
}
