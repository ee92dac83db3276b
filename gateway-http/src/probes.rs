//! Whether the gateway lives, and whether it can answer: cheap, and open to everybody.

use axum::{Json, extract::State};
use http::StatusCode;
use serde_json::{Value, json};
use shared::admin::Readiness;

use crate::Gateway;

/// `GET /healthz`: the process is there.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: requests can be answered now.
pub(crate) async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Value>) {
    let (status, reason) = match gateway.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        Readiness::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, "the agent runner cannot be reached"),
    };
    (status, Json(json!({"status": reason})))
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
