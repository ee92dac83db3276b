//! A model provider over real HTTP that records what it is asked and answers as it is told.

mod reply;
mod script;

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
    serve::ListenerExt,
};
use futures_util::stream;
use http::HeaderMap;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::harness::soon;

pub(crate) use reply::Reply;
pub(crate) use script::Gate;

use script::Step;

/// How the line of facts begins that every agent's prompt has.
const FACTS: &str = "Facts: today is ";

/// The provider; it stops when dropped.
pub(crate) struct Provider {
    address: SocketAddr,
    state: watch::Sender<Ledger>,
    server: JoinHandle<()>,
}

/// What has happened at the provider, and what it is to do next.
struct Ledger {
    asked: Vec<Asked>,
    /// How many answers are being given.
    open: usize,
    hang_ups: Vec<Instant>,
    once: VecDeque<Reply>,
    otherwise: Reply,
}

/// A request that the provider got.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Provider {
    /// Starts one that answers everything with `hello`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(Ledger {
            asked: Vec::new(),
            open: 0,
            hang_ups: Vec::new(),
            once: VecDeque::new(),
            otherwise: Reply::text(&["hello"]),
        });
        let router = Router::new().fallback(answer).with_state(state.clone());
        let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
        Self { address, state, server: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }) }
    }

    /// What the configuration calls `baseUrl`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Answers like this from now on.
    pub(crate) fn answers(&self, reply: Reply) {
        self.state.send_modify(|ledger| ledger.otherwise = reply);
    }

    /// Answers like this once, after what was already ordered with this function.
    pub(crate) fn answers_once(&self, reply: Reply) {
        self.state.send_modify(|ledger| ledger.once.push_back(reply));
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.borrow().asked.clone()
    }

    /// The newest request.
    pub(crate) fn last_asked(&self) -> Asked {
        self.asked().pop().expect("the provider was asked")
    }

    /// Waits for the request with this number, counted from 1.
    pub(crate) async fn request(&self, number: usize) -> Asked {
        let mut state = self.state.subscribe();
        let what = format!("request {number} reaches the provider");
        let ledger = soon(&what, state.wait_for(|ledger| ledger.asked.len() >= number)).await;
        ledger.unwrap().asked[number - 1].clone()
    }

    /// How many answers are being given.
    pub(crate) fn open(&self) -> usize {
        self.state.borrow().open
    }

    /// Waits until no answer is being given any more.
    pub(crate) async fn idle(&self) {
        let mut state = self.state.subscribe();
        soon("every call of the provider ends", state.wait_for(|ledger| ledger.open == 0)).await.unwrap();
    }

    /// Waits until the gateway has closed the connection of an unfinished answer, and says when it did.
    pub(crate) async fn hang_up(&self) -> Instant {
        let mut state = self.state.subscribe();
        let what = "the provider sees its connection closed";
        let ledger = soon(what, state.wait_for(|ledger| !ledger.hang_ups.is_empty())).await;
        ledger.unwrap().hang_ups[0]
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Asked {
    /// The header's value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The texts of the system messages, which all stand before the conversation.
    pub(crate) fn instructions(&self) -> Vec<String> {
        let messages = self.messages();
        let system = messages.iter().take_while(|message| message["role"] == "system");
        system.map(|message| text(&message["content"])).collect()
    }

    /// Everything after the system messages, as `role: text`.
    pub(crate) fn conversation(&self) -> Vec<String> {
        let messages = self.messages();
        let turns = messages.iter().skip_while(|message| message["role"] == "system");
        turns.map(|message| format!("{}: {}", message["role"].as_str().unwrap(), text(&message["content"]))).collect()
    }

    /// The messages as they were sent, but for the facts, which no test but theirs cares for.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let mut messages = self.body["messages"].as_array().unwrap().clone();
        messages.retain_mut(|message| {
            let Some(system) = message["content"].as_str().filter(|_| message["role"] == "system") else { return true };
            let paragraphs: Vec<&str> = system.split("\n\n").filter(|text| !text.starts_with(FACTS)).collect();
            let rest = paragraphs.join("\n\n");
            let is_left = !rest.is_empty();
            message["content"] = rest.into();
            is_left
        });
        messages
    }

    /// The whole system text, facts and all.
    pub(crate) fn system(&self) -> String {
        let first = &self.body["messages"][0];
        assert_eq!(first["role"], "system", "{first}");
        text(&first["content"])
    }
}

/// A message's text: a string, or the text parts joined by newlines.
fn text(content: &Value) -> String {
    let Some(parts) = content.as_array() else {
        return content.as_str().unwrap_or_default().to_owned();
    };
    let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    texts.join("\n")
}

async fn answer(State(state): State<watch::Sender<Ledger>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    // Whoever asks for a page sends no body.
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let asked = Asked { path: head.uri.path().to_owned(), headers: head.headers, body };
    let mut reply = None;
    state.send_modify(|ledger| {
        ledger.asked.push(asked);
        ledger.open += 1;
        reply = Some(ledger.once.pop_front().unwrap_or_else(|| ledger.otherwise.clone()));
    });
    let connection = Connection { state, open: true };
    let reply = reply.expect("set in the call above");
    if let Some(gate) = &reply.gate {
        gate.passed().await;
    }
    let body = stream::unfold((reply.steps.into_iter(), connection), |(mut steps, mut connection)| async {
        let step = steps.next()?;
        // After its last step an answer is over, whoever closes the connection.
        connection.open = matches!(step, Step::Wait(_)) || !steps.as_slice().is_empty();
        Some((step.done().await, (steps, connection)))
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// Notes when it is dropped that the answer is over, and a hang-up when it is not complete.
struct Connection {
    state: watch::Sender<Ledger>,
    open: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let hang_up = self.open.then(Instant::now);
        self.state.send_modify(|ledger| {
            ledger.open -= 1;
            ledger.hang_ups.extend(hang_up);
        });
    }
}
