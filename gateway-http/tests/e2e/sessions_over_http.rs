//! `/v1/sessions`: what is remembered can be listed and read, by any key, and every bad request is told why.

use serde_json::{Value, json};

use crate::harness::{Gateway, Topology, each_topology, run, user};

each_topology![
    sessions_are_listed_most_recent_first_in_pages,
    sessions_can_be_listed_by_agent,
    a_session_is_an_object,
    messages_are_listed_in_pages_both_ways,
    messages_have_the_shapes_of_chat_completions,
    any_key_can_be_addressed,
    an_unknown_session_is_not_found,
    a_bad_key_is_refused,
    a_bad_parameter_is_refused_by_its_name,
    wrong_methods_are_told_the_right_ones,
    sessions_need_a_secret,
];

const KEY: &str = "agent:main:openai-user:alice";

async fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = gateway.request("GET", path).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn fields<'list>(list: &'list Value, field: &str) -> Vec<&'list Value> {
    list["data"].as_array().unwrap().iter().map(|item| &item[field]).collect()
}

/// Makes a gateway whose user alice has said something and was answered `hello`.
async fn with_a_turn(topology: Topology) -> Gateway {
    let gateway = Gateway::start(topology).await;
    assert_eq!(gateway.ask("one").user("alice").send().await.session_key(), KEY);
    gateway
}

async fn sessions_are_listed_most_recent_first_in_pages(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let empty = get(&gateway, "/v1/sessions").await;
    assert_eq!(empty, json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false}));

    let key = |name: &str| json!(format!("agent:main:openai-user:{name}"));
    let (alice, bob, carol) = (key("alice"), key("bob"), key("carol"));
    for name in ["bob", "carol", "alice"] {
        gateway.ask("hi").user(name).send().await.content();
    }
    let first = get(&gateway, "/v1/sessions?limit=2").await;
    assert_eq!((&first["object"], fields(&first, "id")), (&json!("list"), vec![&alice, &carol]));
    assert_eq!((&first["first_id"], &first["last_id"], &first["has_more"]), (&alice, &carol, &json!(true)));
    let last_id = first["last_id"].as_str().unwrap().replace(':', "%3A");
    let second = get(&gateway, &format!("/v1/sessions?limit=2&after={last_id}")).await;
    assert_eq!((fields(&second, "id"), &second["has_more"]), (vec![&bob], &json!(false)));
    let ascending = get(&gateway, "/v1/sessions?order=asc").await;
    assert_eq!(fields(&ascending, "id"), [&bob, &carol, &alice]);
}

async fn sessions_can_be_listed_by_agent(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for model in ["clawdbot:beta", "clawdbot"] {
        gateway.ask("hi").with("model", model).user("alice").send().await.content();
    }
    let of_beta = get(&gateway, "/v1/sessions?agent=Beta").await;
    assert_eq!(fields(&of_beta, "id"), ["agent:beta:openai-user:alice"]);
    assert_eq!(fields(&get(&gateway, "/v1/sessions?agent=ghost").await, "id"), [""; 0]);
}

async fn a_session_is_an_object(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    let mut seen = gateway.session("GET", KEY, "").send().await.json();
    for field in ["created_at", "updated_at"] {
        let seconds = seen[field].take().as_u64().unwrap();
        assert!((1_700_000_000..10_000_000_000).contains(&seconds), "{field}: {seconds}");
    }
    let session_id = seen["session_id"].take();
    assert!(uuid::Uuid::parse_str(session_id.as_str().unwrap()).is_ok(), "{session_id}");
    let usage = json!({
        "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0},
    });
    let expected = json!({
        "id": KEY, "object": "session", "agent_id": "main", "session_id": null, "created_at": null,
        "updated_at": null, "message_count": 2, "usage": usage, "turn_in_flight": null,
    });
    assert_eq!(seen, expected);
}

async fn messages_are_listed_in_pages_both_ways(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    gateway.ask("two").user("alice").send().await.content();
    let page = async |query: &str| {
        let answer = gateway.session("GET", KEY, &format!("/messages{query}")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    };
    let all = page("").await;
    assert_eq!(fields(&all, "content"), ["one", "hello", "two", "hello"]);
    assert_eq!(fields(&all, "role"), ["user", "assistant", "user", "assistant"]);
    let ids: Vec<Value> = fields(&all, "id").into_iter().cloned().collect();
    assert_eq!((&all["first_id"], &all["last_id"], &all["has_more"]), (&ids[0], &ids[3], &json!(false)));

    let first = page("?limit=3").await;
    assert_eq!((fields(&first, "id"), &first["has_more"]), (ids[..3].iter().collect(), &json!(true)), "{first}");
    let rest = page(&format!("?limit=3&after={}", ids[2].as_str().unwrap())).await;
    assert_eq!((fields(&rest, "id"), &rest["has_more"]), (vec![&ids[3]], &json!(false)), "{rest}");
    let newest = page("?limit=2&order=desc").await;
    assert_eq!(fields(&newest, "id"), [&ids[3], &ids[2]]);
    let older = page(&format!("?order=desc&after={}", ids[2].as_str().unwrap())).await;
    assert_eq!(fields(&older, "id"), [&ids[1], &ids[0]]);
    assert_eq!(page("?limit=1000&order=asc").await, all);
}

async fn messages_have_the_shapes_of_chat_completions(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{\"a\":1}"}});
    let picture = json!([
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]);
    let messages = json!([
        {"role": "user", "content": picture},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
    ]);
    let request = gateway.chat(json!({"model": "clawdbot", "messages": messages})).user("alice");
    let answer = request.send().await;
    assert_eq!(answer.content(), "hello");
    let listed = gateway.session("GET", KEY, "/messages").send().await.json();
    let run_id = answer.header("x-clawdbot-run-id");
    let mut items = listed["data"].as_array().unwrap().clone();
    for item in &mut items {
        assert!(item["created_at"].take().is_u64(), "{listed}");
    }
    let whole = |number: u32, rest: Value| {
        let mut item = json!({"id": format!("msg_{number}"), "object": "session.message", "created_at": null});
        item["run_id"] = json!(run_id);
        item.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        item
    };
    let expected = [
        whole(1, messages[0].clone()),
        whole(2, messages[1].clone()),
        whole(3, messages[2].clone()),
        whole(4, json!({"role": "assistant", "content": "hello"})),
    ];
    assert_eq!(items, expected);
}

async fn any_key_can_be_addressed(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for name in
        ["a/b", "100%", "50%2F", "a:b:c", "Grüße 🦞", "two words", "a+b", "a?b#c", "../x", "messages", "@alice:x"]
    {
        let answer = gateway.ask(name).user(name).send().await;
        assert_eq!(answer.content(), "hello", "{name}");
        let key = format!("agent:main:openai-user:{}", name.to_lowercase());
        let found = gateway.session("GET", &key, "").send().await;
        assert_eq!(found.status, 200, "{key}: {}", found.body);
        assert_eq!((&found.json()["id"], &found.json()["message_count"]), (&json!(key), &json!(2)));
        let messages = gateway.session("GET", &key, "/messages?limit=1").send().await.json();
        assert_eq!(messages["data"][0]["content"], name, "{messages}");
        let aborted = gateway.session("POST", &key, "/abort").send().await.json();
        assert_eq!((&aborted["id"], &aborted["aborted"]), (&json!(key), &json!(false)));
        assert_eq!(gateway.session("POST", &key, "/reset").send().await.json()["id"], key);
        let deleted = gateway.session("DELETE", &key, "").send().await.json();
        assert_eq!(deleted, json!({"id": key, "object": "session.deleted", "deleted": true}));
    }
    // A bare key is one of the default agent's, as in the header.
    gateway.ask("hi").header("x-clawdbot-session-key", "mine").send().await.content();
    assert_eq!(gateway.session("GET", "mine", "").send().await.json()["id"], "agent:main:mine");
}

const ENDPOINTS: [(&str, &str); 5] =
    [("GET", ""), ("GET", "/messages"), ("POST", "/reset"), ("POST", "/abort"), ("DELETE", "")];

async fn an_unknown_session_is_not_found(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    for key in ["agent:main:openai-user:bob", "agent:ghost:x", "unknown"] {
        for (method, below) in ENDPOINTS {
            let answer = gateway.session(method, key, below).send().await;
            answer.assert_error(404, "invalid_request_error", "not_found");
        }
    }
    for path in ["/v1/sessions/", "/v1/sessions/a/b", "/v1/sessions/a/messages/1"] {
        gateway.request("GET", path).send().await.assert_error(404, "invalid_request_error", "not_found");
    }
}

async fn a_bad_key_is_refused(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let long = "x".repeat(513);
    for key in ["cron:daily", "agent:main:subagent:x", "@bob:acp:x", " ", "a\nb", long.as_str()] {
        for (method, below) in ENDPOINTS {
            let answer = gateway.session(method, key, below).send().await;
            let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
            assert_eq!(error["param"], "key", "{key:?}: {error}");
        }
    }
    let answer = gateway.request("GET", "/v1/sessions/%FF").send().await;
    assert_eq!(answer.assert_error(400, "invalid_request_error", "invalid_value")["param"], "key");
}

async fn a_bad_parameter_is_refused_by_its_name(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    let messages = "/v1/sessions/agent:main:openai-user:alice/messages";
    for path in ["/v1/sessions", messages] {
        for (param, value) in [
            ("limit", "0"),
            ("limit", "1001"),
            ("limit", "-1"),
            ("limit", "many"),
            ("limit", "99999999999"),
            ("order", "up"),
            ("after", "cron:x"),
            ("after", "agent:main:nobody"),
        ] {
            let answer = gateway.request("GET", &format!("{path}?{param}={value}")).send().await;
            let error = answer.assert_error(400, "invalid_request_error", "invalid_value");
            assert_eq!(error["param"], param, "{path} {value}: {error}");
        }
    }
    let answer = gateway.request("GET", "/v1/sessions?agent=a%20b").send().await;
    assert_eq!(answer.assert_error(400, "invalid_request_error", "invalid_value")["param"], "agent");
    for after in ["msg_0", "msg_-1", "msg_x", "1", "msg_99999999999999999999"] {
        let answer = gateway.request("GET", &format!("{messages}?after={after}")).send().await;
        assert_eq!(answer.assert_error(400, "invalid_request_error", "invalid_value")["param"], "after", "{after}");
    }
}

async fn wrong_methods_are_told_the_right_ones(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let right: [(&str, &[&str]); 5] = [
        ("/v1/sessions", &["GET"]),
        ("/v1/sessions/x", &["GET", "DELETE"]),
        ("/v1/sessions/x/messages", &["GET"]),
        ("/v1/sessions/x/reset", &["POST"]),
        ("/v1/sessions/x/abort", &["POST"]),
    ];
    for (path, right) in right {
        for wrong in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if right.contains(&wrong) {
                continue;
            }
            let answer = gateway.request(wrong, path).send().await;
            answer.assert_error(405, "invalid_request_error", "method_not_allowed");
            let allowed: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            assert!(right.iter().all(|method| allowed.contains(method)), "{wrong} {path}: {allowed:?}");
        }
    }
}

async fn sessions_need_a_secret(topology: Topology) {
    let gateway = with_a_turn(topology).await;
    gateway.request("GET", "/v1/sessions").anonymous().send().await.assert_error(
        401,
        "authentication_error",
        "invalid_api_key",
    );
    for (method, below) in ENDPOINTS {
        let answer = gateway.session(method, KEY, below).bearer("wrong").send().await;
        answer.assert_error(401, "authentication_error", "invalid_api_key");
    }
    assert_eq!(gateway.session("GET", KEY, "").send().await.json()["message_count"], 2);
}

#[tokio::test]
async fn without_their_store_sessions_are_unavailable_and_chat_is_ready() {
    run(async {
        let mut gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.kill("session-store").await;
        let list = gateway.request("GET", "/v1/sessions");
        for request in ENDPOINTS.map(|(method, below)| gateway.session(method, KEY, below)).into_iter().chain([list]) {
            let answer = request.send().await;
            answer.assert_error(503, "api_error", "unavailable");
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{:?}", answer.headers);
        }
        assert!(gateway.is_ready().await);
        assert_eq!(gateway.chat(json!({"messages": [user("hi")]})).send().await.content(), "hello");
    })
    .await;
}
