//! Another configuration for a runner at work.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use proto::agent::v1::ListAgentsRequest;
use shared::{
    config::{Document, Environment, Sources},
    transport::local,
};

use super::*;
use crate::{Config, Service, model::Model};

fn config(text: &str) -> Config {
    let document = Document::from_text(text, Path::new("clawdbot.json"), &Sources::default()).expect("readable");
    Config::load(&document, &Environment::default()).expect("usable")
}

/// Two providers that are fakes, and the given agents.
fn text(agents: &str) -> String {
    let provider = "{baseUrl: 'http://127.0.0.1:1', models: [{id: 'm'}]}";
    format!("{{models: {{providers: {{a: {provider}, b: {provider}}}}}, agents: {{{agents}}}}}")
}

async fn runner(agents: &str, a: Script, b: Script) -> (AgentRunnerClient<Transport>, Service) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fakes = [("a", a), ("b", b)].map(|(id, script)| (id.to_owned(), Arc::new(script) as Arc<dyn Model>));
    let store = FakeStore::default().client();
    let service = config(&text(agents)).build_with(BTreeMap::from(fakes), store, "r").await.expect("it is built");
    (AgentRunnerClient::new(local(service.server())), service)
}

fn says(said: &str) -> Script {
    Script::of([super::text(said), Event::Finished(FinishReason::Stop)])
}

fn model(kinds: &[Kind]) -> &str {
    match kinds.first() {
        Some(Kind::Started(started)) => &started.model,
        other => panic!("{other:?}"),
    }
}

async fn agents(client: &mut AgentRunnerClient<Transport>) -> Vec<String> {
    let listed = client.list_agents(ListAgentsRequest {}).await.expect("they are listed").into_inner();
    listed.agents.into_iter().map(|agent| agent.id).collect()
}

#[tokio::test]
async fn a_run_that_goes_on_keeps_its_configuration_and_the_next_has_the_new_one() {
    let endless = Script::endless([super::text("old")]);
    let b = says("new");
    let (mut client, service) = runner("defaults: {model: 'a/m'}", endless, b.clone()).await;
    let mut old = client.run(request("r1")).await.expect("it is taken on").into_inner();
    for _ in 0..2 {
        old.message().await.expect("it goes on").expect("there is more");
    }
    let changed = "defaults: {model: 'b/m', systemPrompt: 'Be new.'}, list: [{id: 'main'}, {id: 'other'}]";
    service.reload(config(&text(changed))).await.expect("it can be used");
    assert_eq!(agents(&mut client).await, ["main", "other"]);

    let new = run(&mut client, request("r2")).await;
    assert_eq!(model(&new), "b/m");
    assert!(format!("{:?}", b.asked()[0].messages[0]).contains("Be new."));
    let other = RunRequest { agent_id: "other".to_owned(), ..request("r3") };
    assert_eq!(model(&run(&mut client, other).await), "b/m");

    // Nobody has ended the first, until now.
    client.cancel(CancelRequest { run_id: "r1".to_owned(), ..CancelRequest::default() }).await.expect("it goes on");
    let last = old.message().await.expect("it ends well").and_then(|response| response.event?.kind);
    assert_eq!(failure_code(&last.into_iter().collect::<Vec<_>>()), Some(FailureCode::Cancelled));
}

#[tokio::test]
async fn an_agent_that_is_gone_is_unknown() {
    let (mut client, service) =
        runner("defaults: {model: 'a/m'}, list: [{id: 'main'}, {id: 'x'}]", says("a"), says("b")).await;
    service.reload(config(&text("defaults: {model: 'a/m'}, list: [{id: 'x'}]"))).await.expect("it can be used");
    let refused = client.run(request("r1")).await.expect_err("there is no such agent");
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "there is no agent `main`; there are: x"));
}

#[tokio::test]
async fn the_number_of_runs_at_a_time_may_change() {
    let (mut client, service) = runner("defaults: {model: 'a/m'}", Script::endless([]), says("b")).await;
    let _old = client.run(request("r1")).await.expect("it is taken on");
    let fewer = text("defaults: {model: 'b/m', maxConcurrent: 1, maxQueued: 0}");
    service.reload(config(&fewer)).await.expect("it can be used");
    let refused = client.run(request("r2")).await.expect_err("one goes on already");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let more = text("defaults: {model: 'b/m', maxConcurrent: 2, maxQueued: 0}");
    service.reload(config(&more)).await.expect("it can be used");
    assert_eq!(model(&run(&mut client, request("r3")).await), "b/m");
}

#[cfg(feature = "local-model")]
#[tokio::test]
async fn a_configuration_that_cannot_be_made_ready_changes_nothing() {
    let (mut client, service) = runner("defaults: {model: 'a/m'}", says("a"), says("b")).await;
    let broken = "{models: {providers: {e: {api: 'local', path: '/nonexistent/weights.gguf'}}},
        agents: {defaults: {model: 'e/m'}}}";
    service.reload(config(broken)).await.expect_err("there are no weights");
    assert_eq!(model(&run(&mut client, request("r1")).await), "a/m");
}
