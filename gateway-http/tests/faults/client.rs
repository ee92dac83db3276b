//! A client that talks in one session, and writes down what it saw.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    ledger::{Ledger, Line, Turn},
    provider::answer_to,
    system::TOKEN,
};

/// Longer than anything takes that still comes to an end.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(300);

/// A client of one gateway.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    gateway: String,
}

impl Client {
    pub(crate) fn new(gateway: String) -> Self {
        // Fails when it is already installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { http, gateway }
    }

    /// Whether the gateway can reach the session store.
    pub(crate) async fn is_served(&self) -> bool {
        let sessions = self.http.get(format!("{}/v1/sessions", self.gateway)).bearer_auth(TOKEN).send().await;
        sessions.is_ok_and(|answer| answer.status() == 200)
    }

    /// Takes turns until `stop`. A persistent client repeats each one, under one `Idempotency-Key`, until it has the
    /// answer; another one tries once, and never knows what became of a turn that failed.
    pub(crate) async fn talk(
        &self,
        session: usize,
        number: usize,
        is_persistent: bool,
        stop: CancellationToken,
    ) -> Ledger {
        let mut ledger = Ledger::default();
        for count in 0.. {
            let pause = Duration::from_millis(fastrand::u64(20..200));
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
            let text = format!("turn {count} of client {number} in session {session}");
            let key = is_persistent.then(|| Uuid::new_v4().to_string());
            self.turn(&mut ledger, session, &text, count % 2 == 0, key.as_deref()).await;
        }
        ledger
    }

    /// Takes a turn after all is over.
    pub(crate) async fn take_last_turn(&self, session: usize) -> Ledger {
        let mut ledger = Ledger::default();
        let key = Uuid::new_v4().to_string();
        self.turn(&mut ledger, session, &format!("the last turn of session {session}"), false, Some(&key)).await;
        ledger
    }

    async fn turn(&self, ledger: &mut Ledger, session: usize, text: &str, stream: bool, key: Option<&str>) {
        let began = Instant::now();
        let body = json!({
            "model": "clawdbot",
            "user": user(session),
            "stream": stream,
            "messages": [{"role": "user", "content": text}],
        });
        let mut completed = None;
        while completed.is_none() {
            if let Ok(answer) = self.ask(&body, key).await {
                assert_eq!(answer, answer_to(text), "the answer to something else");
                completed = Some(Instant::now());
                continue;
            }
            ledger.add_failed_try();
            if key.is_none() {
                break;
            }
            assert!(began.elapsed() < 2 * PATIENCE, "{text:?} never gets an answer");
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        ledger.add(Turn { text: text.to_owned(), began, completed });
    }

    /// The whole answer, or why there is none.
    async fn ask(&self, body: &Value, key: Option<&str>) -> Result<String, String> {
        let url = format!("{}/v1/chat/completions", self.gateway);
        let mut request = self.http.post(url).bearer_auth(TOKEN).body(body.to_string());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let text = response.text().await.map_err(|error| error.to_string())?;
        // What the gateway must never say here: the request is right, and so is its repetition.
        assert!(!matches!(status.as_u16(), 400..=428 | 430..=499 | 500), "{status}: {text}");
        if status != 200 {
            return Err(text);
        }
        if body["stream"] == true { streamed(&text) } else { Ok(content(&serde_json::from_str(&text).unwrap())) }
    }

    /// The session's messages, oldest first.
    pub(crate) async fn transcript(&self, session: usize) -> Vec<Line> {
        let path = format!("/v1/sessions/agent:main:openai-user:{}/messages", user(session));
        let mut lines = Vec::new();
        let mut after = String::new();
        loop {
            let url = format!("{}{path}?limit=1000&order=asc{after}", self.gateway);
            let response = self.http.get(url).bearer_auth(TOKEN).send().await.unwrap();
            let page: Value =
                serde_json::from_str(&response.error_for_status().unwrap().text().await.unwrap()).unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            lines.extend(
                page["data"].as_array().unwrap().iter().map(|item| (text(&item["role"]), text(&item["content"]))),
            );
            if page["has_more"] != true {
                return lines;
            }
            after = format!("&after={}", page["last_id"].as_str().unwrap());
        }
    }
}

fn user(session: usize) -> String {
    format!("user-{session}")
}

fn content(answer: &Value) -> String {
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// The answer of a stream that ended as it should.
fn streamed(body: &str) -> Result<String, String> {
    let mut answer = String::new();
    let mut has_finished = false;
    for data in body.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if data == "[DONE]" {
            return if has_finished { Ok(answer) } else { Err(body.to_owned()) };
        }
        let chunk: Value = serde_json::from_str(data).unwrap();
        let choice = &chunk["choices"][0];
        answer.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        has_finished |= choice["finish_reason"].is_string();
    }
    Err(body.to_owned())
}
