//! A client that reads answers token by token, over a connection that it keeps.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::deployment::Deployment;

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a token looks like in every answer.
const TOKEN: &[u8] = b" token";

/// One connection.
pub(super) struct Client<'a> {
    deployment: &'a Deployment,
    sender: SendRequest<Full<Bytes>>,
}

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) tokens: usize,
    /// Before each of them.
    pub(super) pause: Duration,
    pub(super) stream: bool,
    pub(super) user: Option<&'a str>,
}

/// An answer that was read to its end.
pub(super) struct Answer {
    pub(super) first_token: Duration,
    pub(super) tokens: usize,
}

impl<'a> Client<'a> {
    pub(super) async fn connect(deployment: &'a Deployment) -> Result<Self, Error> {
        let connection = TcpStream::connect(deployment.address).await?;
        connection.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(connection)).await?;
        // What is wrong with it is seen by who asks.
        tokio::spawn(connection);
        Ok(Self { deployment, sender })
    }

    /// Asks, and reads the answer to its end.
    pub(super) async fn ask(&mut self, ask: Ask<'_>) -> Result<Answer, Error> {
        let begun = Instant::now();
        let mut body = serde_json::json!({
            "model": "clawdbot",
            "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": ask.tokens,
            "seed": u64::try_from(ask.pause.as_millis())?,
            "stream": ask.stream,
        });
        if let Some(user) = ask.user {
            body["user"] = user.into();
        }
        let request = Request::post("/v1/chat/completions")
            .header(header::HOST, self.deployment.address.to_string())
            .header(header::AUTHORIZATION, "Bearer secret")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))?;
        self.sender.ready().await?;
        let mut response = self.sender.send_request(request).await?;
        let status = response.status();
        let mut counter = Counter::default();
        let mut first_token = None;
        while let Some(frame) = response.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if !status.is_success() {
                return Err(format!("{status}: {}", String::from_utf8_lossy(&data)).into());
            }
            if counter.count(&data) > 0 {
                first_token.get_or_insert_with(|| begun.elapsed());
            }
        }
        let first_token = first_token.ok_or("an answer without a token")?;
        Ok(Answer { first_token, tokens: counter.tokens })
    }
}

/// Counts tokens, those that stand across two pieces included.
#[derive(Default)]
struct Counter {
    tail: Vec<u8>,
    tokens: usize,
}

impl Counter {
    /// Adds a piece; returns how many tokens it brought.
    fn count(&mut self, piece: &[u8]) -> usize {
        self.tail.extend_from_slice(piece);
        let (mut found, mut place) = (0, 0);
        while let Some(next) = self.tail[place..].windows(TOKEN.len()).position(|bytes| bytes == TOKEN) {
            found += 1;
            place += next + TOKEN.len();
        }
        let rest = place.max(self.tail.len().saturating_sub(TOKEN.len() - 1));
        self.tail.drain(..rest);
        self.tokens += found;
        found
    }
}
