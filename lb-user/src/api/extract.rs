//! Bodies and queries, read strictly: what is not understood is refused with an [`super::types::ApiError`].

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::Failure;

/// A JSON body. The content type is not asked for: nothing but JSON is spoken here.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            Failure::new(rejection.status(), format!("cannot read the body: {}", rejection.body_text()))
        })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            Failure::new(
                StatusCode::BAD_REQUEST,
                format!("the body is not what /v1/openapi.json says: {error}"),
            )
        })
    }
}

/// A query string.
#[derive(Debug)]
pub(super) struct Options<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Options<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(options)) => Ok(Self(options)),
            Err(rejection) => Err(Failure::new(StatusCode::BAD_REQUEST, rejection.body_text())),
        }
    }
}
