//! The trace of one answer that took two questions to a model and a tool: which spans it has, of which service, kind and
//! parent, and what they say. The same is asked of a collector here, and of a Jaeger by `just trace-check`.

use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Topology, TracedSpan, eventually},
    provider::Reply,
};

/// What the client calls the trace, and its own span in it.
pub(crate) const CALLER: &str = "00f067aa0ba902b7";
const PROMPT: &str = "the rain in Spain";
const ANSWER: &str = "stays mainly in the plain";

/// Starts a gateway whose agent has a tool, with traces that go where `environment` says.
pub(crate) async fn start(topology: Topology, environment: &[(&str, &str)]) -> Gateway {
    let builder = Gateway::on(topology).await.config(json!({"tools": {"profile": "minimal"}}));
    let builder = builder.env("OTEL_BSP_SCHEDULE_DELAY", "100");
    environment.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start().await
}

/// Has the agent answer, by way of its tool, within this trace.
pub(crate) async fn answer(gateway: &Gateway, trace_id: &str) {
    let call = json!([{"index": 0, "id": "call_0", "type": "function",
        "function": {"name": "session_status", "arguments": "{}"}}]);
    gateway.provider.answers_once(Reply::stream().tool_calls(&call).finish("tool_calls").usage(7, 3).done());
    gateway.provider.answers(Reply::text(&[ANSWER]));
    let request = gateway.ask(PROMPT).user("alice").with("temperature", 0.5);
    let answered = request.header("traceparent", &format!("00-{trace_id}-{CALLER}-01")).send().await;
    assert_eq!(answered.content(), ANSWER);
}

/// A trace, to be walked through.
pub(crate) struct Tree<'a> {
    topology: Topology,
    spans: &'a [TracedSpan],
}

impl<'a> Tree<'a> {
    pub(crate) fn new(topology: Topology, spans: &'a [TracedSpan]) -> Self {
        Self { topology, spans }
    }

    /// Whether all is there that [`Tree::check`] looks for; spans come in any order.
    pub(crate) fn is_whole(&self) -> bool {
        let count = |name: &str| self.spans.iter().filter(|span| span.name == name).count();
        let calls = ["clawdbot.agent.v1.AgentRunner/Run", "clawdbot.session.v1.SessionStore/CommitTurn"];
        count("POST /v1/chat/completions") == 1
            && count("invoke_agent main") == 1
            && count("chat test-model") == 2
            && calls.iter().all(|call| count(call) == 2)
    }

    /// The one child of that name.
    fn child(&self, parent: &str, name: &str, kind: &str, service: &str) -> &'a TracedSpan {
        let service = if self.topology == Topology::OneProcess { "clawdbot" } else { service };
        let found: Vec<_> = self.spans.iter().filter(|span| span.parent_id == parent && span.name == name).collect();
        let [span] = found[..] else { panic!("{} of {name} below {parent:?}: {:#?}", found.len(), self.spans) };
        assert_eq!((span.kind.as_str(), span.service.as_str()), (kind, service), "{span:#?}");
        span
    }

    /// A call from one service to another, and what the other did.
    fn call(&self, parent: &TracedSpan, method: &str, from: &str, to: &str) -> &'a TracedSpan {
        let client = self.child(&parent.id, method, "client", from);
        let server = self.child(&client.id, method, "server", to);
        for span in [client, server] {
            assert_eq!(span.attribute("rpc.system"), "grpc", "{span:#?}");
            assert_eq!(span.attribute("rpc.method"), method.rsplit('/').next().unwrap(), "{span:#?}");
            // Who has a run's last event does not wait for the end of the call.
            let is_left = method.ends_with("/Run") && span.attribute("rpc.grpc.status_code").is_null();
            assert!(is_left || span.attribute("rpc.grpc.status_code") == 0, "{span:#?}");
        }
        server
    }

    /// Checks every span of the answer.
    pub(crate) fn check(&self) {
        let http = self.child(CALLER, "POST /v1/chat/completions", "server", "gateway-http");
        let says = |span: &TracedSpan, expected: &[(&str, Value)]| {
            for (key, value) in expected {
                assert_eq!(span.attribute(key), value, "{key} of {span:#?}");
            }
        };
        says(
            http,
            &[
                ("http.request.method", "POST".into()),
                ("http.route", "/v1/chat/completions".into()),
                ("http.response.status_code", 200.into()),
                ("url.path", "/v1/chat/completions".into()),
                ("url.scheme", "http".into()),
                ("gen_ai.agent.id", "main".into()),
            ],
        );
        let serving = self.call(http, "clawdbot.agent.v1.AgentRunner/Run", "gateway-http", "agent-runner");
        let agent = self.child(&serving.id, "invoke_agent main", "internal", "agent-runner");
        says(
            agent,
            &[
                ("gen_ai.operation.name", "invoke_agent".into()),
                ("gen_ai.agent.id", "main".into()),
                ("gen_ai.conversation.id", "agent:main:openai-user:alice".into()),
                ("gen_ai.provider.name", "stub".into()),
                ("gen_ai.request.model", "test-model".into()),
                ("gen_ai.usage.input_tokens", 14.into()),
                ("gen_ai.usage.output_tokens", 6.into()),
            ],
        );
        assert_list(agent, "gen_ai.response.finish_reasons", "stop");
        self.check_models(agent);
        let ends = |span: &TracedSpan| span.began + span.took;
        let last_chat = self.spans.iter().filter(|span| span.name == "chat test-model").map(ends).max().unwrap();
        for span in
            self.spans.iter().filter(|span| span.name.ends_with("AgentRunner/Run") || span.name.starts_with("POST "))
        {
            assert!(ends(span) >= last_chat, "it ends before its answer: {span:#?}");
        }
        self.check_store(agent);
        assert!(self.spans.iter().all(|span| !span.is_error), "{:#?}", self.spans);
        let ids: Vec<&str> = self.spans.iter().map(|span| span.id.as_str()).collect();
        for span in self.spans {
            let is_known = span.parent_id == CALLER || ids.contains(&span.parent_id.as_str());
            assert!(is_known, "nobody's child: {span:#?}");
        }
    }

    fn check_models(&self, agent: &TracedSpan) {
        let chats = self.spans.iter().filter(|span| span.parent_id == agent.id && span.name == "chat test-model");
        let mut chats: Vec<_> = chats.collect();
        chats.sort_by_key(|span| span.began);
        for (span, reason) in chats.iter().zip(["tool_calls", "stop"]) {
            assert_eq!(span.kind, "client");
            assert_eq!(span.attribute("gen_ai.operation.name"), "chat");
            assert_eq!(span.attribute("gen_ai.request.temperature"), 0.5);
            assert_eq!(span.attribute("gen_ai.usage.input_tokens"), 7);
            assert_eq!(span.attribute("server.address"), "127.0.0.1");
            assert_list(span, "gen_ai.response.finish_reasons", reason);
            assert_eq!(span.events, ["gen_ai.first_token"], "{span:#?}");
        }
        let tool = self.child(&agent.id, "execute_tool session_status", "internal", "agent-runner");
        assert_eq!(tool.attribute("gen_ai.tool.name"), "session_status");
        assert_eq!(tool.attribute("gen_ai.tool.call.id"), "call_0");
    }

    fn check_store(&self, agent: &TracedSpan) {
        for (method, statement) in [("BeginTurn", "begin_turn"), ("CommitTurn", "commit_turn")] {
            let method = format!("clawdbot.session.v1.SessionStore/{method}");
            let serving = self.call(agent, &method, "agent-runner", "session-store");
            let doing = self.child(&serving.id, statement, "internal", "session-store");
            let asking = self.child(&doing.id, statement, "client", "session-store");
            assert_eq!(asking.attribute("db.system.name"), "sqlite");
        }
    }
}

/// Jaeger has lists as texts.
fn assert_list(span: &TracedSpan, key: &str, only: &str) {
    let value = span.attribute(key);
    assert!(*value == json!([only]) || value.as_str() == Some(&json!([only]).to_string()), "{key} of {span:#?}");
}

/// Nothing that was said is anywhere.
pub(crate) fn assert_private(spans: &[TracedSpan]) {
    let everything = format!("{spans:?}");
    for private in [PROMPT, ANSWER, "provider-key"] {
        assert!(!everything.contains(private), "{private:?} is in {everything}");
    }
}

/// Whether everything that was said is there: the prompt, the answer, and what the tool was given and gave back.
pub(crate) fn assert_captured(spans: &[TracedSpan]) {
    let of = |name: &str, key: &str| {
        let texts = spans.iter().filter(|span| span.name == name).map(|span| span.attribute(key).to_string());
        texts.collect::<String>()
    };
    assert!(of("chat test-model", "gen_ai.input.messages").contains(PROMPT), "{spans:#?}");
    assert!(of("chat test-model", "gen_ai.output.messages").contains(ANSWER), "{spans:#?}");
    assert_eq!(of("execute_tool session_status", "gen_ai.tool.call.arguments"), "\"{}\"");
    assert!(of("execute_tool session_status", "gen_ai.tool.call.result").len() > 2, "{spans:#?}");
}

/// The trace as a Jaeger tells it, once it is whole.
pub(crate) async fn of_jaeger(url: &str, trace_id: &str, topology: Topology) -> Vec<TracedSpan> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/traces/{trace_id}", url.trim_end_matches('/'));
    let mut spans = Vec::new();
    eventually("the trace is whole", async || {
        let Ok(answer) = client.get(&url).send().await else { return false };
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        spans = TracedSpan::all_of_jaeger(&answer);
        Tree::new(topology, &spans).is_whole()
    })
    .await;
    spans
}
