//! Everything that the gateway answers, in one table.

use axum::{
    Router,
    extract::Request,
    middleware,
    routing::{MethodRouter, get, post},
};

use crate::{
    Gateway, chat, embeddings, error::ApiError, linger, models, openapi, probes, protection, responses, runs, sessions,
    trace,
};

/// Every path and who answers it. Each has its rows in the table of [`openapi`] too.
pub(crate) fn routes() -> Vec<(&'static str, MethodRouter<Gateway>)> {
    vec![
        ("/v1/chat/completions", post(chat::completions)),
        ("/v1/embeddings", post(embeddings::create)),
        ("/v1/models", get(models::list)),
        ("/v1/models/{*id}", get(models::get)),
        ("/v1/responses", post(responses::create)),
        ("/v1/responses/{id}", get(responses::get)),
        ("/v1/responses/{id}/cancel", post(responses::cancel)),
        ("/v1/runs/{id}/events", get(runs::events)),
        ("/v1/runs/{id}/cancel", post(runs::cancel)),
        ("/v1/sessions", get(sessions::list)),
        ("/v1/sessions/{key}", get(sessions::get).delete(sessions::delete)),
        ("/v1/sessions/{key}/messages", get(sessions::messages)),
        ("/v1/sessions/{key}/reset", post(sessions::reset)),
        ("/v1/sessions/{key}/abort", post(sessions::abort)),
        ("/healthz", get(probes::health)),
        ("/health", get(probes::health)),
        ("/readyz", get(probes::ready)),
        ("/ready", get(probes::ready)),
        ("/openapi.json", get(openapi::document)),
    ]
}

pub(crate) fn router(gateway: Gateway) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (path, answers)| router.route(path, answers))
        .fallback(async |request: Request| ApiError::not_found(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(gateway.clone(), protection::layer))
        .layer(middleware::from_fn_with_state(gateway.clone(), linger::layer))
        .layer(middleware::from_fn_with_state(gateway.clone(), trace::layer))
        .with_state(gateway)
}
