//! Replies that are not 2xx: always an [`ApiError`] body with the status that fits.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::types::ApiError;
use crate::controller::Refused;
use crate::vrrp;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) error: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = match &refused {
            Refused::Change(change) if change.is_unknown_object() => StatusCode::NOT_FOUND,
            Refused::Change(_) | Refused::Dataplane(_) | Refused::Flows(_) => StatusCode::CONFLICT,
            Refused::Config(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::Store(_) | Refused::Read(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Refused::Vrrp(vrrp::Refused::Unknown(_) | vrrp::Refused::NotExternal(_)) => StatusCode::NOT_FOUND,
            Refused::Vrrp(vrrp::Refused::NotMaster(..) | vrrp::Refused::NoMaster) => StatusCode::CONFLICT,
            Refused::Vrrp(vrrp::Refused::Ended | vrrp::Refused::Late) | Refused::Stopped => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, refused.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(ApiError { error: self.error })).into_response()
    }
}
