//! Requests as a client writes them, and answers as it reads them.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{events::EventStream, soon};

/// The body of a chat request with one user message.
pub(crate) fn chat(text: &str) -> Value {
    json!({"model": "clawdbot", "messages": [user(text)]})
}

/// A user message.
pub(crate) fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// Makes a connection for each request, so that a dropped answer is a closed connection.
pub(crate) struct Client(reqwest::Client);

impl Client {
    pub(crate) fn new() -> Self {
        // Fails when it is already installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
        // Whom the gateway is by its certificate, the tests of TLS ask with clients of their own.
        let builder = builder.tls_danger_accept_invalid_certs(true);
        Self(builder.build().unwrap())
    }
}

/// A request that is being written.
#[derive(Clone)]
pub(crate) struct Request {
    client: reqwest::Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Option<Body>,
}

#[derive(Clone)]
enum Body {
    Json(Value),
    Text(String),
}

impl Request {
    pub(crate) fn new(client: &Client, method: &str, url: String) -> Self {
        Self { client: client.0.clone(), method: method.parse().unwrap(), url, headers: HeaderMap::new(), body: None }
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Shows another secret.
    pub(crate) fn bearer(self, secret: &str) -> Self {
        self.header("authorization", &format!("Bearer {secret}"))
    }

    /// Shows no secret.
    pub(crate) fn anonymous(mut self) -> Self {
        self.headers.remove("authorization");
        self
    }

    /// Sends this JSON.
    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(Body::Json(body));
        self.header("content-type", "application/json")
    }

    /// Sends this text, whatever it is, as JSON.
    pub(crate) fn text(mut self, body: &str) -> Self {
        self.body = Some(Body::Text(body.to_owned()));
        self.header("content-type", "application/json")
    }

    /// Sets a field of the JSON body.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let Some(Body::Json(body)) = &mut self.body else {
            panic!("{field} needs a JSON body to stand in");
        };
        body[field] = value.into();
        self
    }

    /// Says who the end user is.
    pub(crate) fn user(self, name: &str) -> Self {
        self.with("user", name)
    }

    /// Reads the answer to its end; none when the connection is refused or breaks.
    pub(crate) async fn try_send(self) -> Option<Answer> {
        let what = format!("{} {} is answered", self.method, self.url);
        soon(&what, async {
            let response = self.begin().await.ok()?;
            Some(Answer {
                status: response.status(),
                headers: response.headers().clone(),
                body: response.text().await.ok()?,
            })
        })
        .await
    }

    /// Reads the answer to its end.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.url);
        let answer = self.try_send().await;
        answer.unwrap_or_else(|| panic!("{what}: the connection was refused or broke"))
    }

    /// Asks for a stream, which must begin well, and reads it as it comes.
    pub(crate) async fn stream(self) -> EventStream {
        self.with("stream", true).follow().await
    }

    /// Reads the answer, which must be a stream that begins well, as it comes.
    pub(crate) async fn follow(self) -> EventStream {
        let response = soon("a stream begins", self.begin()).await.unwrap();
        let status = response.status();
        if status == 200 {
            return EventStream::new(response);
        }
        panic!("{status}: {}", response.text().await.unwrap());
    }

    async fn begin(self) -> reqwest::Result<reqwest::Response> {
        let request = self.client.request(self.method, self.url).headers(self.headers);
        let request = match self.body {
            None => request,
            Some(Body::Json(body)) => request.body(body.to_string()),
            Some(Body::Text(body)) => request.body(body),
        };
        request.send().await
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The header's value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The key of the session that the turn was in.
    pub(crate) fn session_key(&self) -> &str {
        self.header("x-clawdbot-session-key")
    }

    /// The body, which must be declared as JSON and be it.
    pub(crate) fn json(&self) -> Value {
        let content_type = self.header("content-type");
        assert!(content_type.starts_with("application/json"), "{content_type:?}: {}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The completion's text, of an answer that must be good.
    pub(crate) fn content(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let content = &self.json()["choices"][0]["message"]["content"];
        content.as_str().unwrap_or_else(|| panic!("no text: {}", self.body)).to_owned()
    }

    /// The error, whose status, type and code must be these.
    pub(crate) fn assert_error(&self, status: u16, kind: &str, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_error(&self.json(), kind, code)
    }
}

/// The error in `body`, which must have the shape of every error, and this type and code.
pub(crate) fn assert_error(body: &Value, kind: &str, code: &str) -> Value {
    let error = &body["error"];
    let mut fields: Vec<_> = error.as_object().into_iter().flat_map(|error| error.keys()).collect();
    fields.sort();
    assert_eq!(fields, ["code", "message", "param", "type"], "{body}");
    assert_eq!((&error["type"], &error["code"]), (&json!(kind), &json!(code)), "{body}");
    assert_ne!(error["message"].as_str().unwrap_or_default(), "", "{body}");
    error.clone()
}
