//! Whether the gateway lives, and whether it can answer: cheap, and open to everybody.

use axum::{Json, extract::State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::Gateway;

/// `GET /healthz`: the process is there.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: requests can be answered now.
pub(crate) async fn ready(State(gateway): State<Gateway>) -> (StatusCode, Json<Value>) {
    let (status, reason) = if gateway.inner.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if !gateway.inner.directory.is_runner_reachable() {
        (StatusCode::SERVICE_UNAVAILABLE, "the agent runner cannot be reached")
    } else {
        (StatusCode::OK, "ready")
    };
    (status, Json(json!({"status": reason})))
}
