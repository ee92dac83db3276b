//! Pictures: which are taken, which reach the model, and what a client is told of the others.

use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Topology, assert_error, each_topology},
    provider::Reply,
};

each_topology![
    a_picture_reaches_the_model_as_what_it_is,
    a_picture_is_kept_as_it_was_sent,
    what_is_no_picture_is_refused_where_it_stands,
    a_picture_at_a_url_is_refused_unless_that_is_turned_on,
    a_picture_at_a_private_address_is_never_fetched,
    too_many_pictures_are_refused,
    a_model_without_eyes_refuses_a_picture,
    a_fallback_with_eyes_answers_in_place_of_a_model_without,
    a_model_without_eyes_is_told_where_pictures_were,
    a_history_of_many_pictures_does_not_end_a_conversation,
];

const PNG: &str = "data:image/png;base64,iVBORw0KGgo=";

fn picture(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

/// A chat whose third message asks about these pictures, after a text.
fn about(pictures: &[Value]) -> Value {
    let text = json!({"type": "text", "text": "What is it?"});
    let content: Vec<Value> = [text].into_iter().chain(pictures.iter().cloned()).collect();
    json!({"model": "clawdbot", "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": content},
    ]})
}

/// Checks that a chat is refused with and without streaming, before anybody is asked; returns what is said.
async fn refused(gateway: &Gateway, chat: Value, param: &str) -> String {
    let check = |error: Value| {
        assert_eq!(error["param"], param, "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    let answer = gateway.chat(chat.clone()).send().await;
    let message = check(answer.assert_error(400, "invalid_request_error", "invalid_value"));
    let answer = gateway.chat(chat).with("stream", true).send().await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    check(assert_error(&answer.json(), "invalid_request_error", "invalid_value"));
    assert!(gateway.provider.asked().is_empty());
    message
}

/// The URLs of the pictures and the texts that the provider was sent last, in order.
fn sent(gateway: &Gateway) -> Vec<String> {
    let messages = gateway.provider.last_asked().messages();
    let contents = messages.iter().map(|message| message["content"].clone());
    let parts = contents
        .flat_map(|content| if let Value::Array(parts) = content { parts } else { vec![json!({"text": content})] });
    let said = |part: Value| part["text"].as_str().or(part["image_url"]["url"].as_str()).unwrap().to_owned();
    parts.map(said).collect()
}

async fn a_picture_reaches_the_model_as_what_it_is(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for url in [PNG, "data:image/jpeg;base64,iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo"] {
        let detailed = json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
        gateway.chat(about(&[detailed, picture(url)])).send().await.content();
        assert_eq!(sent(&gateway), ["hi", "hello", "What is it?", PNG, PNG]);
        let messages = gateway.provider.last_asked().messages();
        assert_eq!(messages[2]["content"][1]["image_url"]["detail"], "low");
    }
    let bare = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": PNG}]}]});
    gateway.chat(bare).send().await.content();
    assert_eq!(sent(&gateway), [PNG]);
}

async fn a_picture_is_kept_as_it_was_sent(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let misnamed = "data:image/jpeg;base64,iVBORw0KGgo=";
    let answer = gateway.chat(about(&[picture(misnamed)])).user("alice").send().await;
    let listed = gateway.session("GET", "agent:main:openai-user:alice", "/messages").send().await.json();
    assert_eq!(answer.content(), "hello");
    assert_eq!(listed["data"][2]["content"][1], picture(misnamed));
    // The next turn shows it as what it is all the same.
    gateway.ask("And now?").user("alice").send().await.content();
    assert_eq!(sent(&gateway), ["hi", "hello", "What is it?", PNG, "hello", "And now?"]);
}

async fn what_is_no_picture_is_refused_where_it_stands(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    for (url, expected) in [
        ("data:image/png;base64,QUJD", "it is none of image/jpeg, image/png"),
        ("data:image/png;base64,$", "not valid base64"),
        ("data:image/png,abc", "not valid base64"),
        ("file:///etc/passwd", "expected a `data:` or http(s) URL"),
    ] {
        let message = refused(&gateway, about(&[picture(PNG), picture(url)]), "messages[2].content[2].image_url").await;
        assert!(message.contains(expected), "{message}");
    }
    let history = json!({"messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [picture("data:image/png;base64,QUJD")]},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "hi"},
    ]});
    // What was wrong then is no fault of what is asked now.
    assert_eq!(gateway.chat(history).send().await.content(), "hello");
    assert_eq!(gateway.provider.last_asked().conversation()[0], "user: [image]");
}

async fn a_picture_at_a_url_is_refused_unless_that_is_turned_on(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let chat = about(&[picture("https://example.com/a.png")]);
    let message = refused(&gateway, chat, "messages[2].content[1].image_url").await;
    assert!(message.contains("`gateway.http.endpoints.chatCompletions.images.allowUrl`"), "{message}");
}

async fn a_picture_at_a_private_address_is_never_fetched(topology: Topology) {
    let gateway = Gateway::with_config(topology, images(&json!({"images": {"allowUrl": true}}))).await;
    let port = gateway.provider.base_url();
    for url in [port.as_str(), "http://169.254.169.254/latest/meta-data/", "http://localhost:1/", "https://[::1]/"] {
        let message = refused(&gateway, about(&[picture(url)]), "messages[2].content[1].image_url").await;
        assert!(message.contains("it is not on the public internet"), "{message}");
        assert!(!message.contains("127.0.0.1"), "{message}");
    }
}

/// The settings of pictures.
fn images(settings: &Value) -> Value {
    json!({"gateway": {"http": {"endpoints": {"chatCompletions": settings}}}})
}

async fn too_many_pictures_are_refused(topology: Topology) {
    let gateway = Gateway::with_config(topology, images(&json!({"maxImageParts": 1}))).await;
    let chat = about(&[picture(PNG), picture(PNG)]);
    let message = refused(&gateway, chat, "messages[2].content[2].image_url").await;
    assert!(message.contains("more than 1 images"), "{message}");
    let gateway = Gateway::with_config(topology, images(&json!({"images": {"maxBytes": 7}}))).await;
    let message = refused(&gateway, about(&[picture(PNG)]), "messages[2].content[1].image_url").await;
    assert!(message.contains("more than 7 bytes"), "{message}");
    let gateway = Gateway::with_config(topology, images(&json!({"maxTotalImageBytes": 15}))).await;
    let chat = about(&[picture(PNG), picture(PNG)]);
    let message = refused(&gateway, chat, "messages[2].content[2].image_url").await;
    assert!(message.contains("more than 15 bytes"), "{message}");
}

/// Two models, of which only one can see.
fn models(primary: &str, fallbacks: &[&str]) -> Value {
    json!({
        "models": {"providers": {"stub": {"models": [
            {"id": "blind", "input": ["text"]},
            {"id": "seeing", "input": ["text", "image"]},
        ]}}},
        "agents": {"defaults": {"model": {"primary": primary, "fallbacks": fallbacks}}},
    })
}

async fn a_model_without_eyes_refuses_a_picture(topology: Topology) {
    let gateway = Gateway::with_config(topology, models("stub/blind", &[])).await;
    let message = refused(&gateway, about(&[picture(PNG)]), "messages[2].content[1].image_url").await;
    assert!(message.contains("the model `stub/blind` takes no images"), "{message}");
    assert!(message.contains("`models.providers.<id>.models[].input`"), "{message}");
}

async fn a_fallback_with_eyes_answers_in_place_of_a_model_without(topology: Topology) {
    let gateway = Gateway::with_config(topology, models("stub/blind", &["stub/seeing"])).await;
    gateway.chat(about(&[picture(PNG)])).send().await.content();
    assert_eq!(gateway.provider.last_asked().body["model"], "seeing");
    gateway.ask("hi").send().await.content();
    assert_eq!(gateway.provider.last_asked().body["model"], "blind");
    // One that cannot see is no fallback for a picture.
    let gateway = Gateway::with_config(topology, models("stub/seeing", &["stub/blind"])).await;
    gateway.provider.answers(Reply::error(400, "invalid_request_error", "x", "no"));
    gateway.chat(about(&[picture(PNG)])).send().await.assert_error(
        400,
        "invalid_request_error",
        "upstream_invalid_request",
    );
    assert_eq!(gateway.provider.asked().len(), 1);
}

async fn a_model_without_eyes_is_told_where_pictures_were(topology: Topology) {
    let gateway = Gateway::with_config(topology, models("stub/seeing", &[])).await;
    gateway.chat(about(&[picture(PNG)])).user("alice").send().await.content();
    let blind = gateway.ask("And now?").user("alice").header("x-clawdbot-model", "stub/blind");
    blind.send().await.content();
    assert_eq!(sent(&gateway), ["hi", "hello", "What is it?\n[image]", "hello", "And now?"]);
    gateway.ask("And now?").user("alice").send().await.content();
    assert_eq!(sent(&gateway)[3], PNG);
}

async fn a_history_of_many_pictures_does_not_end_a_conversation(topology: Topology) {
    let gateway = Gateway::with_config(topology, images(&json!({"maxImageParts": 2}))).await;
    let turn = [json!({"role": "user", "content": [picture(PNG)]}), json!({"role": "assistant", "content": "hello"})];
    let messages = [&turn[..], &turn, &turn[..1]].concat();
    gateway.chat(json!({"messages": messages})).send().await.content();
    assert_eq!(sent(&gateway), ["[image]", "hello", PNG, "hello", PNG]);
}
