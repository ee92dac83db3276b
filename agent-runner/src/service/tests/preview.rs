//! Previews: what a run would have the model asked, without the run.

use proto::agent::v1::{FunctionTool, PreviewPromptRequest, PreviewPromptResponse};

use super::*;

fn preview(run: RunRequest) -> PreviewPromptRequest {
    PreviewPromptRequest { run: Some(RunRequest { run_id: String::new(), ..run }) }
}

fn system(preview: &PreviewPromptResponse) -> &Message {
    preview.messages.first().expect("a prompt begins with the agent's own part")
}

#[tokio::test]
async fn a_preview_is_what_a_run_has_the_model_asked() {
    let (hi, hello) = (message(Role::User, "hi"), message(Role::Assistant, "hello"));
    let check = async |transcript: Vec<Message>, stateless: bool| {
        let store = FakeStore { transcript: transcript.clone(), ..FakeStore::default() };
        let script = Script::of([text("ok"), Event::Finished(FinishReason::Stop)]);
        let (mut client, _service) = runner(&store, script.clone());
        let tool = FunctionTool { name: "f".to_owned(), ..FunctionTool::default() };
        let request = RunRequest {
            instructions: vec![message(Role::Developer, "Be brief.")],
            history: vec![message(Role::User, "before"), message(Role::Assistant, "yes")],
            tools: vec![tool],
            stateless,
            ..request("r1")
        };
        let previewed = client.preview_prompt(preview(request.clone())).await.expect("it is valid").into_inner();
        assert_eq!(store.calls(), [], "nothing is begun");
        run(&mut client, request.clone()).await;
        let [asked] = &script.asked()[..] else { panic!("the model is asked once") };
        assert_eq!((&previewed.messages, &previewed.tools[..]), (&asked.messages, &asked.tools[..]));
        assert_eq!(previewed.model, "fake/m");
        previewed
    };
    let previewed = check(vec![hi.clone(), hello.clone()], false).await;
    let system = system(&previewed).clone();
    let said = format!("{system:?}");
    assert!(
        said.contains("You are main.") && said.contains("Facts: today is ") && said.contains("Be brief."),
        "{said}"
    );
    assert_eq!(previewed.messages, [system, hi.clone(), hello, hi]);
    check(vec![], false).await;
    check(vec![], true).await;
}

#[tokio::test]
async fn a_preview_shows_the_window_and_no_result_without_its_call() {
    let answer = |text| message(Role::Assistant, text);
    // The window is of four messages, of which the first is such a result.
    let transcript =
        vec![message(Role::User, "one"), answer("1"), message(Role::Tool, "r"), answer("2"), answer("3"), answer("4")];
    let store = FakeStore { transcript, ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::of([]));
    // A request that says nothing new shows what every run begins with.
    let nothing_new = RunRequest { input: vec![], ..request("") };
    let previewed = client.preview_prompt(preview(nothing_new)).await.expect("it is valid").into_inner();
    assert_eq!(previewed.messages, [system(&previewed).clone(), answer("2"), answer("3"), answer("4")]);
}

#[tokio::test]
async fn a_preview_is_refused_as_its_run_would_be() {
    let (mut client, _service) = runner(&FakeStore::default(), Script::of([]));
    let mut check = async |request: RunRequest, code: Code, message: &str| {
        let status = client.preview_prompt(preview(request)).await.expect_err("it is bad");
        assert_eq!((status.code(), status.message()), (code, message));
    };
    let unknown = RunRequest { agent_id: "x".to_owned(), ..request("") };
    check(unknown, Code::NotFound, "there is no agent `x`; there are: main").await;
    let keyless = RunRequest { session_key: String::new(), ..request("") };
    check(
        keyless,
        Code::InvalidArgument,
        "session_key: is needed unless the run is stateless and ends with its stream",
    )
    .await;
    let model = RunRequest { model: "x/y".to_owned(), ..request("") };
    check(model, Code::InvalidArgument, "x-clawdbot-model: there is no model provider `x`").await;
}

#[tokio::test]
async fn a_preview_of_a_session_with_nothing_new_is_refused() {
    let history = vec![message(Role::User, "first"), message(Role::Assistant, "answer")];
    let store = FakeStore { transcript: history.clone(), ..FakeStore::default() };
    let (mut client, _service) = runner(&store, Script::of([]));
    let status = client.preview_prompt(preview(RunRequest { history, input: vec![], ..request("") })).await;
    let status = status.expect_err("nothing is new");
    assert_eq!(status.message(), "messages: nothing follows the last assistant message");
}
