//! What a client hears when there is more to do than may be done at once.

use futures_util::future::{self, Either};
use serde_json::json;

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Gate, Reply},
};

each_topology![
    a_turn_that_waits_too_long_is_told_to_come_back,
    a_full_runner_takes_no_more,
    runs_wait_in_a_line_that_has_an_end,
];

async fn a_turn_that_waits_too_long_is_told_to_come_back(topology: Topology) {
    let impatient = json!({"session": {"waitMs": 50}});
    let gateway = Gateway::with_config(topology, impatient).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").user("alice").send());
    gateway.provider.request(1).await;

    let second = gateway.ask("two").user("alice").send().await;
    second.assert_error(429, "rate_limit_error", "session_busy");
    assert!(second.header("retry-after").parse::<u32>().is_ok(), "{:?}", second.headers);
    assert_eq!(gateway.provider.asked().len(), 1);

    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
    gateway.ask("three").user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: three"]);
}

async fn a_full_runner_takes_no_more(topology: Topology) {
    let small = json!({"services": {"agentRunner": {"maxConcurrentCalls": 1}}});
    let gateway = Gateway::with_config(topology, small).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").send());
    gateway.provider.request(1).await;

    let second = gateway.ask("two").send().await;
    second.assert_error(429, "rate_limit_error", "overloaded");
    assert!(second.header("retry-after").parse::<u32>().is_ok(), "{:?}", second.headers);

    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
    assert_eq!(gateway.ask("three").send().await.content(), "hello");
}

async fn runs_wait_in_a_line_that_has_an_end(topology: Topology) {
    let small = json!({"agents": {"defaults": {"maxConcurrent": 1, "maxQueued": 1}}});
    let gateway = Gateway::with_config(topology, small).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = tokio::spawn(gateway.ask("one").send());
    gateway.provider.request(1).await;
    // Of two more, one finds a place in the line, and whichever does not is told so at once.
    let (two, three) = (tokio::spawn(gateway.ask("two").send()), tokio::spawn(gateway.ask("three").send()));
    let (refused, waiting) = match future::select(two, three).await {
        Either::Left((refused, waiting)) | Either::Right((refused, waiting)) => (refused.unwrap(), waiting),
    };
    refused.assert_error(429, "rate_limit_error", "overloaded");
    assert_eq!(gateway.provider.asked().len(), 1);
    gate.open();
    assert_eq!(first.await.unwrap().content(), "first");
    assert_eq!(waiting.await.unwrap().content(), "hello");
}
