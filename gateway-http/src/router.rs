//! Everything that the gateway answers, in one table.

use axum::{
    Router,
    extract::Request,
    middleware,
    routing::{get, post},
};

use crate::{Gateway, chat, embeddings, error::ApiError, models, probes, runs, sessions, trace};

pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/models", get(models::list))
        .route("/v1/runs/{id}/events", get(runs::events))
        .route("/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{key}", get(sessions::get).delete(sessions::delete))
        .route("/v1/sessions/{key}/messages", get(sessions::messages))
        .route("/v1/sessions/{key}/reset", post(sessions::reset))
        .route("/v1/sessions/{key}/abort", post(sessions::abort))
        .route("/healthz", get(probes::health))
        .route("/health", get(probes::health))
        .route("/readyz", get(probes::ready))
        .route("/ready", get(probes::ready))
        .fallback(async |request: Request| ApiError::not_found(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
        })
        .layer(middleware::from_fn(trace::layer))
        .with_state(gateway)
}
