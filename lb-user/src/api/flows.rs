//! The handlers of remembered flows.

use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, post};
use futures_util::{StreamExt, stream};

use super::error::Failure;
use super::extract::Options;
use super::flow_dump::FlowDump;
use super::types::{ApiError, FlowCount, FlowEntry, FlowImport, FlowOptions};
use crate::controller::ControllerHandle;

/// A dump that is imported in one request is no longer; `ferrolev flows import` cuts longer ones.
const DUMP_LIMIT_BYTES: usize = 64 << 20;

/// Buckets that are read in one go.
const PAGE_BUCKETS: u32 = 8192;

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
    let most = options.limit.unwrap_or(1000);
    let mut flows = Vec::new();
    let mut pages = Pages::new(controller, options);
    while flows.len() < most
        && let Some(page) = pages.next().await?
    {
        flows.extend(page.flows);
    }
    flows.truncate(most);
    Ok(Json(flows))
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
    let mut pages = Pages::new(controller, options);
    // What is asked for wrongly is refused before anything is sent.
    let first = pages.next().await?.map_or_else(String::new, |page| page.to_text());
    let rest = stream::unfold(pages, |mut pages| async {
        let text = pages.next().await.map(|page| page.map(|page| page.flows_text()));
        let text = text.map_err(|failure| std::io::Error::other(failure.error)).transpose()?;
        Some((text, pages))
    });
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(rest));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body))
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

/// All remembered flows, some buckets at a time, so that neither the daemon's memory nor its time is taken at once.
struct Pages {
    controller: ControllerHandle,
    options: FlowOptions,
    /// The first bucket of the next page, and how many there are.
    next: u32,
    buckets: Option<u32>,
}

impl Pages {
    const fn new(controller: ControllerHandle, options: FlowOptions) -> Self {
        Self { controller, options, next: 0, buckets: None }
    }

    async fn next(&mut self) -> Result<Option<FlowDump>, Failure> {
        if self.buckets.is_some_and(|buckets| self.next >= buckets) {
            return Ok(None);
        }
        let end = self.next.saturating_add(PAGE_BUCKETS);
        let page = self.controller.flows(self.options.clone(), self.next..end).await?;
        self.buckets = Some(page.head.buckets);
        self.next = end;
        Ok(Some(page))
    }
}

pub(super) fn import_route() -> MethodRouter<ControllerHandle> {
    post(import).layer(DefaultBodyLimit::max(DUMP_LIMIT_BYTES))
}
