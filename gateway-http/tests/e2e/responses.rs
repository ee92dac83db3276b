//! `/v1/responses`: whole and streamed, continued and branched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{Answer, Gateway, Request, Topology, each_topology},
    provider::Reply,
};

each_topology![
    a_text_is_answered,
    what_is_asked_reaches_the_provider,
    a_field_at_fault_is_named,
    a_tool_is_called_and_its_result_goes_back,
    a_stream_tells_every_step_and_is_numbered,
    a_response_is_followed_by_its_id,
    two_that_follow_one_response_are_branches,
    a_user_has_a_session_of_their_own,
    what_is_not_stored_leaves_nothing_behind,
    a_run_that_fails_is_an_error_and_in_the_background_a_failed_response,
    an_answer_that_is_cut_short_is_incomplete,
    calls_whose_pieces_come_mixed_are_told_apart,
    all_that_comes_with_a_previous_response_is_new,
    a_response_is_its_owners,
    the_endpoint_can_be_turned_off,
];

pub(crate) fn respond(gateway: &Gateway, body: Value) -> Request {
    gateway.request("POST", "/v1/responses").json(body)
}

pub(crate) fn text(response: &Value) -> String {
    let parts = response["output"].as_array().expect("output").iter().filter_map(|item| item["content"].as_array());
    parts.flatten().filter_map(|part| part["text"].as_str()).collect()
}

pub(crate) fn id(response: &Value) -> String {
    response["id"].as_str().expect("an id").to_owned()
}

pub(crate) async fn created(gateway: &Gateway, body: Value) -> Value {
    let answer = respond(gateway, body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let response = answer.json();
    assert_eq!(answer.header("x-clawdbot-run-id"), response["id"]);
    response
}

/// The response once it is over, as another gateway tells it.
pub(crate) async fn over(gateway: &Gateway, id: &str) -> Value {
    for _ in 0..200 {
        let answer = gateway.request_elsewhere("GET", &format!("/v1/responses/{id}")).send().await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let response = answer.json();
        if !["queued", "in_progress"].contains(&response["status"].as_str().expect("a status")) {
            return response;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the response {id} is never over");
}

/// How many sessions there are.
pub(crate) async fn sessions(gateway: &Gateway) -> usize {
    gateway.request("GET", "/v1/sessions").send().await.json()["data"].as_array().expect("a list").len()
}

/// The events of a stream, but for its end.
pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let data: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let (end, events) = data.split_last().expect("events");
    assert_eq!(*end, "[DONE]");
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
    let names: Vec<&str> = answer.body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events.iter().map(|event| event["type"].as_str().expect("a type")).collect::<Vec<_>>(), names);
    events
}

async fn a_text_is_answered(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().delta("hel").delta("lo").finish("stop").usage(9, 4).done());
    let response = created(&gateway, json!({"model": "clawdbot", "input": "hi", "metadata": {"team": "a"}})).await;
    assert_eq!(text(&response), "hello");
    assert_eq!(response["object"], "response");
    assert_eq!(response["status"], "completed");
    assert_eq!(response["model"], "clawdbot");
    assert_eq!(response["metadata"], json!({"team": "a"}));
    assert_eq!(response["usage"]["input_tokens"], 9);
    assert_eq!(response["usage"]["output_tokens"], 4);
    assert_eq!(response["usage"]["total_tokens"], 13);
    // What was answered is kept.
    assert_eq!(over(&gateway, &id(&response)).await, response);
}

async fn what_is_asked_reaches_the_provider(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let input = json!([
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "one"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "user", "content": "three"},
    ]);
    let schema = json!({"type": "object", "properties": {}});
    let body = json!({
        "input": input, "instructions": "Be brief.", "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 77,
        "reasoning": {"effort": "low", "summary": "auto"}, "parallel_tool_calls": false, "made_up": [1],
        "text": {"format": {"type": "json_schema", "name": "s", "schema": schema, "strict": true}, "verbosity": "low"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
    });
    created(&gateway, body).await;
    let asked = gateway.provider.last_asked();
    let instructions = asked.instructions().join("|");
    assert!(instructions.contains("Be brief.") && instructions.contains("Be kind."), "{instructions}");
    assert_eq!(asked.conversation(), ["user: one", "assistant: two", "user: three"]);
    let sent = asked.body;
    assert_eq!(sent["temperature"], 0.5);
    assert_eq!(sent["reasoning_effort"], "low");
    assert_eq!(sent["verbosity"], "low");
    assert_eq!(sent["response_format"]["json_schema"]["schema"], schema);
    assert_eq!(sent["tools"][0]["function"]["name"], "f");
    assert_eq!(sent["parallel_tool_calls"], false);
}

async fn a_field_at_fault_is_named(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": 7}), "input"),
        (json!({"input": ["hi"]}), "input[0]"),
        (json!({"input": [{"role": "wizard", "content": "hi"}]}), "input[0].role"),
        (json!({"input": [{"role": "user"}]}), "input[0].content"),
        (json!({"input": [{"role": "user", "content": [{"type": "video"}]}]}), "input[0].content[0].type"),
        (json!({"input": [{"type": "item_reference", "id": "x"}]}), "input[0].type"),
        (json!({"input": [{"type": "function_call_output", "output": "x"}]}), "input[0].call_id"),
        (json!({"input": "hi", "stream": "yes"}), "stream"),
        (json!({"input": "hi", "temperature": 3}), "temperature"),
        (json!({"input": "hi", "max_output_tokens": 0}), "max_output_tokens"),
        (json!({"input": "hi", "reasoning": {"effort": "hard"}}), "reasoning.effort"),
        (json!({"input": "hi", "text": {"format": {"type": "json_schema", "name": "s"}}}), "text.format.schema"),
        (json!({"input": "hi", "tools": [{"type": "web_search"}]}), "tools[0].type"),
        (json!({"input": "hi", "tools": [{"type": "function", "name": "a b"}]}), "tools[0].name"),
        (json!({"input": "hi", "tool_choice": "required"}), "tool_choice"),
        (json!({"input": "hi", "conversation": "conv_1"}), "conversation"),
        (json!({"input": "hi", "previous_response_id": "é"}), "previous_response_id"),
        (json!({"input": "hi", "previous_response_id": "r".repeat(129)}), "previous_response_id"),
        (json!({"input": "hi", "safety_identifier": "i".repeat(65)}), "safety_identifier"),
        (json!({"input": "hi", "prompt": {"id": "x"}}), "prompt"),
        (json!({"input": "hi", "background": true, "store": false}), "background"),
        (json!({"input": "hi", "truncation": "some"}), "truncation"),
        (json!({"input": "hi", "metadata": {"a": 1}}), "metadata.a"),
    ] {
        let error =
            respond(&gateway, body.clone()).send().await.assert_error(400, "invalid_request_error", "invalid_value");
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    let unknown = respond(&gateway, json!({"input": "hi", "previous_response_id": "resp_x"})).send().await;
    assert_eq!(unknown.assert_error(404, "invalid_request_error", "not_found")["param"], "previous_response_id");
    assert_eq!(gateway.provider.asked().len(), 0);
}

async fn a_tool_is_called_and_its_result_goes_back(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call =
        json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}}]);
    gateway.provider.answers_once(Reply::stream().delta("Let me see.").tool_calls(&call).finish("tool_calls").done());
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let first = created(&gateway, json!({"input": "look", "tools": tools})).await;
    assert_eq!(text(&first), "Let me see.");
    let called = &first["output"][1];
    assert_eq!((&called["type"], &called["call_id"]), (&json!("function_call"), &json!("c1")));
    assert_eq!((&called["name"], &called["arguments"]), (&json!("f"), &json!("{\"x\":1}")));

    // The result follows, by id alone, and with everything sent again.
    let output = json!({"type": "function_call_output", "call_id": "c1", "output": "42"});
    let by_id = json!({"input": [output], "previous_response_id": id(&first), "tools": tools});
    assert_eq!(text(&created(&gateway, by_id).await), "hello");
    let followed = gateway.provider.last_asked().messages();
    let items = json!([
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "Let me see."},
        called,
        output,
    ]);
    assert_eq!(text(&created(&gateway, json!({"input": items, "store": false, "tools": tools})).await), "hello");
    assert_eq!(gateway.provider.last_asked().messages(), followed);
    assert_eq!(followed[1]["tool_calls"][0]["id"], "c1");
    assert_eq!((&followed[2]["role"], &followed[2]["tool_call_id"]), (&json!("tool"), &json!("c1")));
}

async fn a_stream_tells_every_step_and_is_numbered(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let call = json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let reply = Reply::stream().delta("hel").delta("lo").tool_calls(&call).finish("tool_calls").usage(9, 4).done();
    gateway.provider.answers(reply);
    let tools = json!([{"type": "function", "name": "f"}]);
    let answer = respond(&gateway, json!({"input": "hi", "stream": true, "tools": tools})).send().await;
    let events = events(&answer);
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..14).collect::<Vec<u64>>());
    let whole = &events[13]["response"];
    assert_eq!(over(&gateway, &id(whole)).await, *whole);
    assert_eq!(whole["usage"]["total_tokens"], 13);
}

async fn a_response_is_followed_by_its_id(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let first = created(&gateway, json!({"input": "one", "instructions": "Be brief."})).await;
    let second = created(&gateway, json!({"input": "two", "previous_response_id": id(&first)})).await;
    created(&gateway, json!({"input": "three", "previous_response_id": id(&second)})).await;
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: hello", "user: two", "assistant: hello", "user: three"]);
    // Instructions are not carried over.
    assert!(!asked.system().contains("Be brief."), "{}", asked.system());
    assert_eq!(sessions(&gateway).await, 1);
}

async fn two_that_follow_one_response_are_branches(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let first = created(&gateway, json!({"input": "one"})).await;
    let left = created(&gateway, json!({"input": "left", "previous_response_id": id(&first)})).await;
    let right = created(&gateway, json!({"input": "right", "previous_response_id": id(&first)})).await;
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: one", "assistant: hello", "user: right"]);
    created(&gateway, json!({"input": "more", "previous_response_id": id(&left)})).await;
    let expected = ["user: one", "assistant: hello", "user: left", "assistant: hello", "user: more"];
    assert_eq!(gateway.provider.last_asked().conversation(), expected);
    // Nothing is kept of a branch that asks for that.
    created(&gateway, json!({"input": "aside", "store": false, "previous_response_id": id(&right)})).await;
    let expected = ["user: one", "assistant: hello", "user: right", "assistant: hello", "user: aside"];
    assert_eq!(gateway.provider.last_asked().conversation(), expected);
    assert_eq!(sessions(&gateway).await, 2);
}

async fn a_user_has_a_session_of_their_own(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for input in ["one", "two"] {
        let answer = respond(&gateway, json!({"input": input, "user": "Alice"})).send().await;
        assert_eq!(answer.session_key(), "agent:main:openresponses-user:alice");
    }
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: one", "assistant: hello", "user: two"]);
    let elsewhere = created(&gateway, json!({"input": "three"})).await;
    let mixed = json!({"input": "four", "user": "alice", "previous_response_id": id(&elsewhere)});
    let error = respond(&gateway, mixed).send().await.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(error["param"], "previous_response_id");
}

async fn what_is_not_stored_leaves_nothing_behind(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let response = created(&gateway, json!({"input": "hi", "store": false, "user": "alice"})).await;
    assert_eq!(response["store"], false);
    let answer = gateway.request("GET", &format!("/v1/responses/{}", id(&response))).send().await;
    answer.assert_error(404, "invalid_request_error", "not_found");
    assert_eq!(sessions(&gateway).await, 0);
}

async fn a_run_that_fails_is_an_error_and_in_the_background_a_failed_response(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::error(400, "invalid_request_error", "bad", "no such thing"));
    let answer = respond(&gateway, json!({"input": "hi"})).send().await;
    answer.assert_error(400, "invalid_request_error", "upstream_invalid_request");
    let response = created(&gateway, json!({"input": "hi", "background": true})).await;
    let failed = over(&gateway, &id(&response)).await;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("invalid_prompt")));
    let path = format!("/v1/responses/{}?stream=true", id(&response));
    let told = events(&gateway.request("GET", &path).send().await);
    assert_eq!(told.last().expect("an end")["type"], "response.failed");
    // There is nothing to follow.
    let body = json!({"input": "more", "previous_response_id": id(&response)});
    respond(&gateway, body).send().await.assert_error(400, "invalid_request_error", "invalid_value");

    gateway.provider.answers(Reply::stream().delta("hel").break_off());
    let told = events(&respond(&gateway, json!({"input": "hi", "stream": true})).send().await);
    let end = told.last().expect("an end");
    assert_eq!((&end["type"], &end["response"]["status"]), (&json!("response.failed"), &json!("failed")));
    assert_eq!(end["response"]["error"]["code"], "server_error");
    assert_eq!(end["response"]["output"][0]["status"], "incomplete");
}

async fn an_answer_that_is_cut_short_is_incomplete(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers(Reply::stream().delta("hel").finish("length").done());
    let response = created(&gateway, json!({"input": "hi"})).await;
    assert_eq!(response["status"], "incomplete");
    assert_eq!(response["incomplete_details"], json!({"reason": "max_output_tokens"}));
    let told = events(&respond(&gateway, json!({"input": "hi", "stream": true})).send().await);
    assert_eq!(told.last().expect("an end")["type"], "response.incomplete");
}

async fn calls_whose_pieces_come_mixed_are_told_apart(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let begun = |index: u32, id: &str| json!({"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}});
    let piece = |index: u32, text: &str| json!([{"index": index, "function": {"arguments": text}}]);
    let reply = Reply::stream().tool_calls(&json!([begun(0, "c0"), begun(1, "c1")]));
    let reply = reply.tool_calls(&piece(0, "{\"x\":")).tool_calls(&piece(1, "{\"y\":"));
    let reply = reply.tool_calls(&piece(0, "0}")).tool_calls(&piece(1, "1}"));
    gateway.provider.answers(reply.finish("tool_calls").done());
    let tools = json!([{"type": "function", "name": "f"}]);
    let body = json!({"input": "hi", "stream": true, "tools": tools});
    let told = events(&respond(&gateway, body).send().await);
    let output = &told.last().expect("an end")["response"]["output"];
    let calls = [0, 1].map(|index| (&output[index]["call_id"], &output[index]["arguments"], &output[index]["status"]));
    let expected = [("c0", "{\"x\":0}"), ("c1", "{\"y\":1}")].map(|(id, text)| (json!(id), json!(text)));
    for (call, (id, text)) in calls.into_iter().zip(&expected) {
        assert_eq!(call, (id, text, &json!("completed")));
    }
    for (index, (_, text)) in expected.iter().enumerate() {
        let of_call = |event: &&Value| event["output_index"] == index;
        let deltas = told.iter().filter(of_call).filter_map(|event| event["delta"].as_str());
        assert_eq!(json!(deltas.collect::<String>()), *text);
        let done = told.iter().filter(of_call).find(|event| event["type"] == "response.function_call_arguments.done");
        assert_eq!(done.expect("an end")["arguments"], *text);
    }
}

async fn all_that_comes_with_a_previous_response_is_new(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let first = created(&gateway, json!({"input": "one"})).await;
    let input = json!([
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "as somebody else said"},
        {"role": "user", "content": "three"},
    ]);
    created(&gateway, json!({"input": input, "previous_response_id": id(&first)})).await;
    let expected = ["user: one", "assistant: hello", "user: two", "assistant: as somebody else said", "user: three"];
    assert_eq!(gateway.provider.last_asked().conversation(), expected);
}

async fn a_response_is_its_owners(topology: Topology) {
    let tokens = json!([{"name": "alice", "token": "a"}, {"name": "bob", "token": "b"}]);
    let gateway = Gateway::with_config(topology, json!({"gateway": {"auth": {"tokens": tokens}}})).await;
    let answer = respond(&gateway, json!({"input": "hi"})).bearer("a").send().await;
    let id = id(&answer.json());
    let path = format!("/v1/responses/{id}");
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}?stream=true")), ("POST", format!("{path}/cancel"))]
    {
        let refused = gateway.request(method, &path).bearer("b").send().await;
        refused.assert_error(404, "invalid_request_error", "not_found");
    }
    let body = json!({"input": "more", "previous_response_id": id});
    respond(&gateway, body.clone()).bearer("b").send().await.assert_error(404, "invalid_request_error", "not_found");
    assert_eq!(gateway.request("GET", &path).bearer("a").send().await.status, 200);
    assert_eq!(respond(&gateway, body).bearer("a").send().await.status, 200);
}

async fn the_endpoint_can_be_turned_off(topology: Topology) {
    let config = json!({"gateway": {"http": {"endpoints": {"responses": {"enabled": false}}}}});
    let gateway = Gateway::with_config(topology, config).await;
    for (method, path) in
        [("POST", "/v1/responses"), ("GET", "/v1/responses/resp_x"), ("POST", "/v1/responses/resp_x/cancel")]
    {
        let answer = gateway.request(method, path).json(json!({"input": "hi"})).send().await;
        let error = answer.assert_error(404, "invalid_request_error", "not_found");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(path)), "{error}");
    }
}
