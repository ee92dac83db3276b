//! What is remembered between requests, for whom, and what is not.

use serde_json::json;
use tokio::join;

use crate::{
    harness::{Gateway, Signal, Topology, each_topology, run, soon, user},
    provider::{Gate, Reply},
};

each_topology![
    a_users_second_turn_holds_the_first_once,
    a_client_that_resends_its_history_does_not_double_it,
    history_of_a_new_session_is_kept,
    users_do_not_share_a_session,
    a_session_survives_a_restart,
    a_session_survives_a_crash,
    a_stateless_request_leaves_nothing_behind,
    a_failed_run_keeps_nothing,
    turns_of_one_session_wait_for_each_other,
    turns_of_different_sessions_do_not_wait,
];

/// Makes a gateway whose user alice has said `one` and was answered `first`.
async fn with_a_first_turn(topology: Topology) -> Gateway {
    let gateway = Gateway::start(topology).await;
    gateway.provider.answers_once(Reply::text(&["fir", "st"]));
    let answer = gateway.ask("one").user("alice").send().await;
    assert_eq!(answer.content(), "first");
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: one"]);
    gateway
}

async fn assert_remembers(gateway: &Gateway) {
    gateway.ask("two").user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two"]);
}

async fn a_users_second_turn_holds_the_first_once(topology: Topology) {
    let gateway = with_a_first_turn(topology).await;
    let streamed = gateway.ask("two").user("Alice").stream().await.end().await;
    assert_eq!(streamed.content(), "hello");
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two"]);
    gateway.ask("three").user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two", "assistant: hello", "user: three"]);
}

async fn a_client_that_resends_its_history_does_not_double_it(topology: Topology) {
    let gateway = with_a_first_turn(topology).await;
    let messages = json!([user("one"), {"role": "assistant", "content": "first"}, user("two")]);
    let request = gateway.chat(json!({"model": "clawdbot", "messages": messages}));
    request.user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two"]);
}

async fn history_of_a_new_session_is_kept(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let messages = json!([user("one"), {"role": "assistant", "content": "first"}, user("two")]);
    let request = gateway.chat(json!({"model": "clawdbot", "messages": messages}));
    request.user("alice").send().await.content();
    gateway.ask("three").user("alice").send().await.content();
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two", "assistant: hello", "user: three"]);
}

async fn users_do_not_share_a_session(topology: Topology) {
    let gateway = with_a_first_turn(topology).await;
    gateway.ask("two").user("bob").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
    let other_agent = gateway.ask("two").user("alice").with("model", "clawdbot:beta");
    other_agent.send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
    gateway.ask("two").send().await.content();
    assert_eq!(gateway.provider.last_asked().conversation(), ["user: two"]);
    assert_remembers(&gateway).await;
}

async fn a_session_survives_a_restart(topology: Topology) {
    let mut gateway = with_a_first_turn(topology).await;
    gateway.restart(Signal::SIGTERM).await;
    assert_remembers(&gateway).await;
}

async fn a_session_survives_a_crash(topology: Topology) {
    let mut gateway = with_a_first_turn(topology).await;
    gateway.restart(Signal::SIGKILL).await;
    assert_remembers(&gateway).await;
}

async fn a_stateless_request_leaves_nothing_behind(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let before = gateway.installation().state_files();
    assert_eq!(gateway.ask("a passing remark").send().await.content(), "hello");
    assert_eq!(gateway.ask("a passing remark").stream().await.end().await.content(), "hello");
    assert!(gateway.installation().state_files() == before, "a file was written");

    // A remembered turn shows that the state folder is where it would have been.
    gateway.ask("a lasting remark").user("alice").send().await.content();
    assert!(gateway.installation().state_holds("a lasting remark"));
    assert!(!gateway.installation().state_holds("a passing remark"));
}

#[tokio::test]
async fn a_store_of_its_own_lists_no_stateless_session() {
    run(async {
        let gateway = Gateway::start(Topology::ThreeProcesses).await;
        gateway.ask("a passing remark").send().await.content();
        assert_eq!(gateway.stored_sessions().await, []);
        gateway.ask("a lasting remark").user("alice").send().await.content();
        let sessions = gateway.stored_sessions().await;
        let keys: Vec<_> = sessions.iter().map(|session| session.session_key.as_str()).collect();
        assert_eq!(keys, ["agent:main:openai-user:alice"]);
        assert_eq!(sessions[0].message_count, 2);
    })
    .await;
}

async fn a_failed_run_keeps_nothing(topology: Topology) {
    let gateway = with_a_first_turn(topology).await;
    gateway.provider.answers(Reply::stream().delta("half an ans").break_off());
    let failed = gateway.ask("lost").user("alice").send().await;
    failed.assert_error(502, "api_error", "upstream_error");
    gateway.ask("lost").user("alice").stream().await.end().await.error();
    gateway.provider.answers(Reply::text(&["hello"]));
    assert_remembers(&gateway).await;
}

async fn turns_of_one_session_wait_for_each_other(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers_once(Reply::text(&["first"]).after(&gate));
    let first = gateway.ask("one").user("alice").send();
    let second = async {
        gateway.provider.request(1).await;
        let second = tokio::spawn(gateway.ask("two").user("alice").send());
        // Somebody else is served meanwhile, and the second turn has had its chance to overtake.
        gateway.ask("elsewhere").user("bob").send().await.content();
        gateway.ask("elsewhere").send().await.content();
        assert_eq!(gateway.provider.asked().len(), 3);
        gate.open();
        soon("the second turn is over", second).await.unwrap()
    };
    let (first, second) = join!(first, second);
    assert_eq!((first.content().as_str(), second.content().as_str()), ("first", "hello"));
    let asked = gateway.provider.last_asked();
    assert_eq!(asked.conversation(), ["user: one", "assistant: first", "user: two"]);
}

async fn turns_of_different_sessions_do_not_wait(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let gate = Gate::default();
    gateway.provider.answers(Reply::text(&["hello"]).after(&gate));
    let both = async {
        gateway.provider.request(2).await;
        gate.open();
    };
    let of_alice = gateway.ask("one").user("alice").send();
    let of_bob = gateway.ask("one").user("bob").send();
    let (of_alice, of_bob, ()) = join!(of_alice, of_bob, both);
    assert_eq!((of_alice.content().as_str(), of_bob.content().as_str()), ("hello", "hello"));
}
