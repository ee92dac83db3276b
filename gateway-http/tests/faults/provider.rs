//! A model that answers what it is asked, in pieces and in its own time.

use std::{convert::Infallible, time::Duration};

use axum::{Json, Router, body::Body, response::Response, serve::ListenerExt};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Starts the provider; returns its base URL.
pub(crate) async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
    tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    format!("http://{address}/v1")
}

/// What the model says to a message.
pub(crate) fn answer_to(text: &str) -> String {
    format!("this is the answer to {text}")
}

async fn answer(Json(request): Json<Value>) -> Response {
    let last = request["messages"].as_array().and_then(|messages| messages.last()).unwrap();
    let answer = answer_to(last["content"].as_str().unwrap());
    let (first, second) = answer.split_at(answer.len() / 2);
    let delta = |text: &str| event(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}));
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}});
    let end = format!("{}{}data: [DONE]\n\n", event(&finish), event(&usage));
    let pieces = stream::iter([delta(first), delta(second), end]).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(5..60))).await;
        Ok::<_, Infallible>(Bytes::from(piece))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}

fn event(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}
