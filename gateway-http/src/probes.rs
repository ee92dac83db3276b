//! Whether the gateway lives, and whether it can answer: cheap, and open to everybody.

use axum::{Json, extract::State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use shared::admin::Readiness;

use crate::Gateway;

/// What a probe hears.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProbeStatus")]
pub(crate) struct Status {
    status: &'static str,
}

/// `GET /healthz`: the process is there.
pub(crate) async fn health() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// `GET /readyz`: requests can be answered now.
pub(crate) async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Status>) {
    let (code, status) = match gateway.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "the agent runner cannot be reached"),
    };
    (code, Json(Status { status }))
}

impl Gateway {
    /// Whether requests can be answered now.
    pub fn readiness(&self) -> Readiness {
        if self.inner.draining.is_cancelled() {
            Readiness::Draining
        } else if self.inner.directory.is_runner_reachable() {
            Readiness::Ready
        } else {
            Readiness::Unreachable
        }
    }
}
