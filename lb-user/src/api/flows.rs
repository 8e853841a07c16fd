//! The handlers of remembered flows.

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, post};

use super::error::Failure;
use super::extract::Options;
use super::flow_dump::FlowDump;
use super::types::{ApiError, FlowCount, FlowEntry, FlowImport, FlowOptions};
use crate::controller::ControllerHandle;

/// A dump that is imported in one request is no longer; `ferrolev flows import` cuts longer ones.
const DUMP_LIMIT_BYTES: usize = 64 << 20;

type Reply<T> = Result<Json<T>, Failure>;
type Controller = State<ControllerHandle>;

/// Remembered flows. Those in ring slots that have changed hands are, and all of vips with `tracking = "full"`.
#[utoipa::path(
    get,
    path = "/v1/flows",
    params(FlowOptions),
    responses(
        (status = 200, body = Vec<FlowEntry>),
        (status = 404, description = "No such vip or backend", body = ApiError),
    )
)]
pub(super) async fn flows(
    State(controller): Controller,
    Options(options): Options<FlowOptions>,
) -> Reply<Vec<FlowEntry>> {
    Ok(Json(controller.flows(options).await?.flows))
}

/// How many flows of each vip are remembered on each backend.
#[utoipa::path(
    get,
    path = "/v1/flows/count",
    params(FlowOptions),
    responses(
        (status = 200, body = Vec<FlowCount>),
        (status = 404, description = "No such vip or backend", body = ApiError),
    )
)]
pub(super) async fn count(
    State(controller): Controller,
    Options(options): Options<FlowOptions>,
) -> Reply<Vec<FlowCount>> {
    Ok(Json(controller.flow_counts(options).await?))
}

/// Remembered flows for another balancer: one JSON object a line, a FlowDumpHead first, then a FlowEntry each.
#[utoipa::path(
    get,
    path = "/v1/flows/export",
    params(FlowOptions),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = String),
        (status = 404, description = "No such vip or backend", body = ApiError),
    )
)]
pub(super) async fn export(
    State(controller): Controller,
    Options(options): Options<FlowOptions>,
) -> Result<impl IntoResponse, Failure> {
    let dump = controller.flows(options).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], dump.to_text()))
}

/// Remembers the flows of an export; those that are remembered here already stay as they are.
#[utoipa::path(
    post,
    path = "/v1/flows/import",
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 200, body = FlowImport),
        (status = 400, description = "The request is not understood", body = ApiError),
        (status = 409, description = "hash_seed or limits.flows are not those of the export", body = ApiError),
    )
)]
pub(super) async fn import(State(controller): Controller, body: String) -> Reply<FlowImport> {
    let dump = FlowDump::parse(&body)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body is no dump: {error}")))?;
    Ok(Json(controller.import_flows(dump).await?))
}

pub(super) fn import_route() -> MethodRouter<ControllerHandle> {
    post(import).layer(DefaultBodyLimit::max(DUMP_LIMIT_BYTES))
}
