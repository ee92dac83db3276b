//! Runs that do more than one thing: tools, several models, summaries, and waiting for each other.

mod failover;
mod summaries;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use proto::{
    agent::v1::{FunctionTool, RunResponse, ToolCallDelta, ToolChoice, tool_choice::Mode},
    session::v1::ToolCall,
};
use serde_json::json;
use tokio::sync::{Barrier, Notify};

use super::{
    fakes::{Dialogue, Setup, policy},
    *,
};
use crate::{
    run::{Limits, ToolLimits},
    service::Capacity,
    tool::{self, Calling, Tool},
};

fn finished(reason: FinishReason) -> Event {
    Event::Finished(reason)
}

/// An answer that is only this text.
fn says(said: &str) -> Script {
    Script::of([text(said), finished(FinishReason::Stop)])
}

/// An answer that calls these tools, as `id:name`, each with `{}`.
fn calls(calls: &[&str]) -> Script {
    let deltas = calls.iter().zip(0..).flat_map(|(call, index)| {
        let (id, name) = call.split_once(':').expect("an id and a name");
        let delta = |id: &str, name: &str, arguments: &str| {
            let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
            Event::ToolCall(ToolCallDelta { index, id, name, arguments })
        };
        [delta(id, name, ""), delta("", "", "{}")]
    });
    Script::of(deltas.chain([finished(FinishReason::ToolCalls)]))
}

fn tool_call(id: &str, name: &str) -> ToolCall {
    let [id, name, arguments] = [id, name, "{}"].map(str::to_owned);
    ToolCall { id, name, arguments, ..ToolCall::default() }
}

fn calling(calls: &[(&str, &str)]) -> Message {
    let tool_calls = calls.iter().map(|(id, name)| tool_call(id, name)).collect();
    Message { role: Role::Assistant.into(), tool_calls, ..Message::default() }
}

fn result(id: &str, text: &str) -> Message {
    Message { tool_call_id: id.to_owned(), ..message(Role::Tool, text) }
}

fn function(name: &str) -> FunctionTool {
    FunctionTool { name: name.to_owned(), ..FunctionTool::default() }
}

/// A tool that does what its variant says.
struct Fake {
    definition: FunctionTool,
    does: Does,
}

enum Does {
    Says(&'static str),
    Fails(&'static str),
    /// Takes a while, and must be alone.
    Appends(Arc<Mutex<String>>, &'static str),
    /// What was appended before.
    Reads(Arc<Mutex<String>>),
    /// Never comes back; tells when it has begun and when it is dropped.
    Hangs {
        begun: Arc<Notify>,
        dropped: Arc<Notify>,
    },
    /// Comes back when so many are at it.
    Meets(Arc<Barrier>),
    /// Counts how many are at it at a time, and keeps the most.
    Counts {
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
    },
}

fn fake(name: &str, does: Does) -> Arc<dyn Tool> {
    Arc::new(Fake { definition: function(name), does })
}

struct Tells(Arc<Notify>);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Tool for Fake {
    fn definition(&self) -> &FunctionTool {
        &self.definition
    }

    fn is_exclusive(&self) -> bool {
        matches!(self.does, Does::Appends(..))
    }

    fn call<'a>(&'a self, call: tool::Call<'a>) -> Calling<'a> {
        assert_eq!((call.arguments, call.run.agent_id.as_str()), ("{}", "main"));
        Box::pin(async {
            match &self.does {
                Does::Says(said) => Ok((*said).to_owned()),
                Does::Appends(text, more) => {
                    for letter in more.chars() {
                        tokio::task::yield_now().await;
                        text.lock().unwrap().push(letter);
                    }
                    Ok(String::new())
                }
                Does::Reads(text) => Ok(text.lock().unwrap().clone()),
                Does::Fails(why) => Err(tool::Error((*why).to_owned())),
                Does::Hangs { begun, dropped } => {
                    let _tells = Tells(dropped.clone());
                    begun.notify_one();
                    std::future::pending().await
                }
                Does::Meets(barrier) => {
                    barrier.wait().await;
                    Ok("met".to_owned())
                }
                Does::Counts { now, most } => {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(String::new())
                }
            }
        })
    }
}

/// The text that the readers heard.
fn heard(kinds: &[Kind]) -> String {
    let deltas =
        kinds.iter().filter_map(|kind| if let Kind::TextDelta(text) = kind { Some(text.as_str()) } else { None });
    deltas.collect()
}

#[tokio::test]
async fn a_tool_is_called_shown_and_kept_with_the_turn() {
    let store = FakeStore::default();
    let mut first = vec![text("let me see")];
    let look = ToolCallDelta { index: 0, id: "c1".to_owned(), name: "look".to_owned(), arguments: "{}".to_owned() };
    first.extend([Event::ToolCall(look), finished(FinishReason::Stop)]);
    let dialogue = Dialogue::of([Script::of(first), says("it is 7")]);
    let tools = vec![fake("look", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&store);
    let kinds = run(&mut client, request("r1")).await;

    assert_eq!(heard(&kinds), "let me see\n\nit is 7");
    let [Kind::Usage(_), Kind::ToolStarted(started), Kind::ToolFinished(finished)] = &kinds[2..5] else {
        panic!("{kinds:?}")
    };
    assert_eq!((&*started.tool_call_id, &*started.name, &*started.arguments), ("c1", "look", "{}"));
    assert_eq!((&*finished.tool_call_id, &*finished.name, finished.is_error), ("c1", "look", false));

    let called = Message { parts: vec![crate::prompt::text("let me see".to_owned())], ..calling(&[("c1", "look")]) };
    let turn = [message(Role::User, "hi"), called, result("c1", "7"), message(Role::Assistant, "it is 7")];
    assert_eq!(store.calls(), [Call::Begin, Call::Commit(turn.to_vec())]);
    let asked = dialogue.asked();
    assert_eq!(asked[1].messages, turn[..3]);
    assert_eq!(asked[1].tools[..], [function("look")]);
}

#[tokio::test]
async fn what_every_call_cost_is_summed() {
    let usage = Usage { prompt_tokens: 10, completion_tokens: 2, cached_tokens: 1, reasoning_tokens: 1 };
    let looks = [
        Event::ToolCall(ToolCallDelta { id: "c1".to_owned(), name: "look".to_owned(), ..ToolCallDelta::default() }),
        finished(FinishReason::ToolCalls),
        Event::Usage(usage),
    ];
    // A tool that nobody knows is an error for the model to see.
    let answer = [text("no"), finished(FinishReason::Stop), Event::Usage(usage)];
    let dialogue = Dialogue::of([Script::of(looks), Script::of(answer)]);
    let tools = vec![fake("other", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    let sum = Usage { prompt_tokens: 20, completion_tokens: 4, cached_tokens: 2, reasoning_tokens: 2 };
    let Some(Kind::Finished(finished)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!(finished.usage, Some(sum));
    assert!(kinds.contains(&Kind::Usage(usage)));
    let told = dialogue.asked()[1].messages.last().cloned();
    assert_eq!(told, Some(result("c1", "Error: there is no tool called `look`")));
}

#[tokio::test]
async fn calls_of_one_answer_go_on_at_the_same_time_and_no_more_than_may() {
    let together = Arc::new(Barrier::new(3));
    let tools = vec![fake("meet", Does::Meets(together)), fake("broken", Does::Fails("it is broken"))];
    let ids = ["a:meet", "b:meet", "c:meet", "d:broken"];
    let dialogue = Dialogue::of([calls(&ids), says("done")]);
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    run(&mut client, request("r1")).await;
    let results = [result("a", "met"), result("b", "met"), result("c", "met"), result("d", "Error: it is broken")];
    assert_eq!(dialogue.asked()[1].messages[2..], results);

    let (now, most) = (Arc::default(), Arc::<AtomicUsize>::default());
    let tools = vec![fake("count", Does::Counts { now, most: most.clone() })];
    let dialogue = Dialogue::of([calls(&["a:count", "b:count", "c:count", "d:count", "e:count"]), says("done")]);
    let mut setup = Setup { tools, ..Setup::of(dialogue) };
    setup.settings.tools.parallel = 2;
    let (mut client, _service) = setup.runner(&FakeStore::default());
    run(&mut client, request("r2")).await;
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn calls_that_change_things_are_made_in_their_order() {
    let text = Arc::<Mutex<String>>::default();
    let tools = vec![
        fake("read", Does::Reads(text.clone())),
        fake("one", Does::Appends(text.clone(), "one ")),
        fake("two", Does::Appends(text, "two ")),
    ];
    let dialogue = Dialogue::of([calls(&["a:read", "b:one", "c:read", "d:two", "e:read", "f:read"]), says("done")]);
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    run(&mut client, request("r1")).await;
    let nothing = "(nothing)";
    let results = [("a", nothing), ("b", nothing), ("c", "one "), ("d", nothing), ("e", "one two "), ("f", "one two ")];
    assert_eq!(dialogue.asked()[1].messages[2..], results.map(|(id, text)| result(id, text)));
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_hangs_is_stopped_and_the_model_is_told() {
    let (begun, dropped) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let tools = vec![fake("hang", Does::Hangs { begun, dropped: dropped.clone() })];
    let dialogue = Dialogue::of([calls(&["c1:hang"]), says("sorry")]);
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    dropped.notified().await;
    assert_eq!(heard(&kinds), "sorry");
    let told = dialogue.asked()[1].messages.last().cloned();
    assert_eq!(told, Some(result("c1", "Error: it took longer than 60 s and was stopped")));
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::ToolFinished(finished) if finished.is_error)));
}

#[tokio::test]
async fn a_run_that_is_cancelled_stops_its_tools_and_keeps_nothing() {
    let check = async |stop: fn(AgentRunnerClient<Transport>, Streaming<RunResponse>)| {
        let (begun, dropped) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let tools = vec![fake("hang", Does::Hangs { begun: begun.clone(), dropped: dropped.clone() })];
        let store = FakeStore::default();
        let setup = Setup { tools, ..Setup::of(Dialogue::of([calls(&["c1:hang"])])) };
        let (mut client, service) = setup.runner(&store);
        let events = client.run(request("r1")).await.expect("the run is taken on").into_inner();
        begun.notified().await;
        stop(client, events);
        dropped.notified().await;
        service.shutdown().await;
        assert_eq!(store.calls(), [Call::Begin, Call::Abandon]);
    };
    check(|_, events| drop(events)).await;
    check(|mut client, events| {
        tokio::spawn(async move {
            client.cancel(cancel("r1")).await.expect("the run is live");
            drop(events);
        });
    })
    .await;
}

#[tokio::test]
async fn the_clients_tools_end_the_turn_beside_the_agents_own() {
    let store = FakeStore::default();
    let dialogue = Dialogue::of([calls(&["a:look", "b:find", "c:find"])]);
    let tools = vec![fake("look", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&store);
    let required = ToolChoice { mode: Mode::Required.into(), ..ToolChoice::default() };
    let asks = RunRequest { tools: vec![function("find")], tool_choice: Some(required.clone()), ..request("r1") };
    let kinds = run(&mut client, asks).await;

    // The client sees its own calls only, counted from 0.
    let deltas: Vec<_> = kinds
        .iter()
        .filter_map(|kind| if let Kind::ToolCallDelta(delta) = kind { Some((delta.index, &*delta.id)) } else { None })
        .collect();
    assert_eq!(deltas, [(0, "b"), (0, ""), (1, "c"), (1, "")]);
    let Some(Kind::Finished(finished)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!(finished.reason(), FinishReason::ToolCalls);
    let called = calling(&[("a", "look"), ("b", "find"), ("c", "find")]);
    let turn = vec![message(Role::User, "hi"), called, result("a", "7")];
    assert_eq!(store.calls(), [Call::Begin, Call::Commit(turn)]);
    let asked = dialogue.asked();
    assert_eq!(asked[0].tools[..], [function("look"), function("find")]);
    assert_eq!(asked[0].tool_choice, Some(required));
}

#[tokio::test]
async fn a_call_that_was_demanded_is_demanded_once() {
    let dialogue = Dialogue::of([calls(&["a:look"]), says("7")]);
    let tools = vec![fake("look", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    let required = ToolChoice { mode: Mode::Required.into(), ..ToolChoice::default() };
    let kinds = run(&mut client, RunRequest { tool_choice: Some(required.clone()), ..request("r1") }).await;
    assert_eq!(heard(&kinds), "7");
    let choices: Vec<_> = dialogue.asked().into_iter().map(|asked| asked.tool_choice).collect();
    assert_eq!(choices, [Some(required), None]);
}

#[tokio::test]
async fn a_client_that_wants_no_tools_called_speaks_of_its_own() {
    let dialogue = Dialogue::of([says("7")]);
    let tools = vec![fake("look", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(dialogue.clone()) }.runner(&FakeStore::default());
    let none = ToolChoice { mode: Mode::None.into(), ..ToolChoice::default() };
    let asks = RunRequest { tools: vec![function("find")], tool_choice: Some(none), ..request("r1") };
    run(&mut client, asks).await;
    let asked = dialogue.asked();
    assert_eq!((&asked[0].tools[..], &asked[0].tool_choice), (&[function("look")][..], &None));
}

#[tokio::test]
async fn a_tool_of_the_client_with_the_name_of_the_agents_is_refused() {
    let store = FakeStore::default();
    let tools = vec![fake("look", Does::Says("7"))];
    let (mut client, _service) = Setup { tools, ..Setup::of(Dialogue::of([says("7")])) }.runner(&store);
    let kinds = run(&mut client, RunRequest { tools: vec![function("look")], ..request("r1") }).await;
    let [Kind::Failed(failed)] = &kinds[..] else { panic!("{kinds:?}") };
    assert_eq!((failed.code(), &*failed.param), (FailureCode::InvalidRequest, "tools"));
    assert_eq!(failed.message, "the agent has a tool called `look` itself");
    assert_eq!(store.calls(), []);
}

#[tokio::test]
async fn the_limits_of_a_run_hold() {
    let dialogue = Dialogue::of([calls(&["a:look"])]);
    let tools = vec![fake("look", Does::Says("1234567890"))];
    let mut setup = Setup { tools, ..Setup::of(dialogue.clone()) };
    setup.settings.limits = Limits { model_calls: 3, tool_calls: 1 };
    setup.settings.tools = ToolLimits { output_chars: 4, ..setup.settings.tools };
    let (mut client, _service) = setup.runner(&FakeStore::default());
    let kinds = run(&mut client, request("r1")).await;
    let Some(Kind::Finished(finished)) = kinds.last() else { panic!("{kinds:?}") };
    assert_eq!(finished.reason(), FinishReason::Length);
    let asked = dialogue.asked();
    let modes: Vec<_> = asked.iter().map(|asked| asked.tool_choice.as_ref().map(ToolChoice::mode)).collect();
    assert_eq!(modes, [None, None, Some(Mode::None)]);
    assert_eq!(asked[2].messages[2], result("a", "12\n[… 6 characters left out …]\n90"));
    let refused = "Error: not called: this turn has made its 1 tool calls; answer without";
    assert_eq!(asked[2].messages[4], result("a", refused));
}

#[tokio::test]
async fn runs_wait_for_each_other_and_more_are_refused() {
    let dialogue = Dialogue::of([Script::endless([text("a")]), says("b")]);
    let mut setup = Setup::of(dialogue.clone());
    setup.capacity = Capacity { running: 1, waiting: 1, ..setup.capacity };
    let (mut client, _service) = setup.runner(&FakeStore::default());
    let mut first = client.run(request("r1")).await.expect("there is room").into_inner();
    while !matches!(first.message().await.unwrap().unwrap().event.unwrap().kind, Some(Kind::TextDelta(_))) {}
    let mut second = client.run(request("r2")).await.expect("there is room to wait").into_inner();
    for fingerprint in ["", "f"] {
        let third = RunRequest { fingerprint: fingerprint.as_bytes().to_vec().into(), ..request("r3") };
        let refused = client.run(third).await.expect_err("nobody else may wait");
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    }
    assert_eq!(dialogue.asked().len(), 1);
    drop(first);
    assert_eq!(heard(&kinds(&mut second).await), "b");
    // A place that was waited in is free again.
    run(&mut client, request("r4")).await;
}
