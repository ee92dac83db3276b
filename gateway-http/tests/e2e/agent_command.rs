//! `clawdbot agent` and what surrounds its answer: the prompt shown, standard input, Ctrl-C, pipes, exit codes.

use std::{
    fs,
    process::{Output, Stdio},
};

use nix::{sys::signal, unistd::Pid};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{
    cli::{clawdbot_with, stderr, stdout},
    harness::{Installation, Signal, clawdbot, soon},
    provider::{Provider, Reply},
};

/// Starts `clawdbot agent` with these arguments and all three streams in the test's hands.
fn started(installation: &Installation, arguments: &[&str]) -> Child {
    let mut command: Command = installation.command(&clawdbot());
    command.arg("agent").args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn interrupt(child: &Child) {
    let pid = child.id().expect("it has not been waited for");
    signal::kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGINT).unwrap();
}

async fn output(child: Child) -> Output {
    soon("clawdbot agent ends", child.wait_with_output()).await.unwrap()
}

#[tokio::test]
async fn a_prompt_is_shown_and_nobody_is_asked() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    fs::create_dir(installation.home().join("clawd")).unwrap();
    fs::write(installation.home().join("clawd/AGENTS.md"), "Help.").unwrap();
    let output = clawdbot_with(&installation, &["agent", "--show-prompt", "--message", "hi"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = stdout(&output);
    let begin =
        "=== model ===\nstub/test-model\n\n=== system ===\n# Project context\n\n## AGENTS.md\n\nHelp.\n\nFacts: ";
    assert!(shown.starts_with(begin), "{shown}");
    assert!(shown.ends_with("agent main; model stub/test-model.\n\n=== user ===\nhi\n"), "{shown}");
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn a_shown_prompt_has_the_session_and_begins_no_turn_of_it() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let turn = clawdbot_with(&installation, &["agent", "--message", "one", "--user", "alice"]).await;
    assert_eq!(turn.status.code(), Some(0), "{turn:?}");
    let show = ["agent", "--show-prompt", "--json", "--user", "alice", "--model", "stub/other"];
    for _ in 0..2 {
        let output = clawdbot_with(&installation, &[&show[..], &["--message", "two"]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(shown["messages"][0]["role"], "system");
        shown["messages"].as_array_mut().unwrap().remove(0);
        let said = |role: &str, text: &str| json!({"role": role, "content": [{"type": "text", "text": text}]});
        let messages = [said("user", "one"), said("assistant", "hello"), said("user", "two")];
        assert_eq!(shown, json!({"model": "stub/other", "tools": [], "messages": messages}));
    }
    // Without a message, what every run would begin with.
    let output = clawdbot_with(&installation, &show).await;
    let shown: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(shown["messages"].as_array().unwrap().len(), 3, "{shown}");
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test]
async fn a_run_can_name_its_model() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let output = clawdbot_with(&installation, &["agent", "--message", "hi", "--model", "stub/other"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(provider.last_asked().body["model"], "other");
    let output = clawdbot_with(&installation, &["agent", "--message", "hi", "--model", "other"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("--model: expected `provider/model`"), "{output:?}");
}

#[tokio::test]
async fn a_message_can_come_from_standard_input() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let check = async |input: &[u8], expected: Result<&str, &str>| {
        let mut child = started(&installation, &["--message", "-"]);
        child.stdin.take().unwrap().write_all(input).await.unwrap();
        let output = output(child).await;
        match expected {
            Ok(message) => {
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                assert_eq!(provider.last_asked().conversation(), [format!("user: {message}")]);
            }
            Err(error) => {
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                assert!(stderr(&output).contains(error), "{output:?}");
            }
        }
    };
    check(b"one\ntwo\n", Ok("one\ntwo")).await;
    check(b" \n", Err("standard input holds no message")).await;
    check(b"\xff", Err("cannot read standard input")).await;
}

#[tokio::test]
async fn an_interrupt_cancels_the_run() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    provider.answers(Reply::stream().delta("one").hang());
    let mut child = started(&installation, &["--message", "count"]);
    let mut begin = [0; 3];
    soon("the answer begins", child.stdout.as_mut().unwrap().read_exact(&mut begin)).await.unwrap();
    assert_eq!(&begin, b"one");
    interrupt(&child);
    let output = output(child).await;
    provider.hang_up().await;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(stderr(&output), "cancelled\n");
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_for_standard_input() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let mut child = started(&installation, &["--message", "-"]);
    let input = child.stdin.take().unwrap();
    // Nothing tells when it waits; before that, an interrupt ends it as every process.
    interrupt(&child);
    let output = output(child).await;
    drop(input);
    let (code, killed_by) = (output.status.code(), std::os::unix::process::ExitStatusExt::signal(&output.status));
    assert!(code == Some(130) || killed_by == Some(Signal::SIGINT as i32), "{output:?}");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_the_run_quietly() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let gate = crate::provider::Gate::default();
    provider.answers(Reply::stream().delta("one").wait_for(&gate).delta("two").hang());
    let mut child = started(&installation, &["--message", "count"]);
    let mut begin = [0; 3];
    soon("the answer begins", child.stdout.as_mut().unwrap().read_exact(&mut begin)).await.unwrap();
    drop(child.stdout.take());
    gate.open();
    let output = output(child).await;
    provider.hang_up().await;
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{output:?}");
}

#[tokio::test]
async fn the_exit_code_says_whether_to_try_again() {
    let provider = Provider::start().await;
    let installation = Installation::new(&provider);
    let check = async |reply: Reply, code: i32| {
        provider.answers(reply);
        let output = clawdbot_with(&installation, &["agent", "--message", "hi"]).await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stderr(&output).starts_with("Error: "), "{output:?}");
    };
    check(Reply::error(401, "authentication_error", "invalid_api_key", "no"), 1).await;
    check(Reply::error(503, "server_error", "overloaded", "busy"), 3).await;
    let usage = clawdbot_with(&installation, &["agent"]).await;
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

/// An installation whose agent may run programs, and is told by its model to run this one.
async fn with_program(command: &str) -> (Installation, Provider) {
    let provider = Provider::start().await;
    let mut installation = Installation::new(&provider);
    installation.configure(json!({"tools": {"profile": "coding", "exec": {"security": "full"}}}));
    let arguments = json!({"command": command}).to_string();
    let call = json!([{"index": 0, "id": "call_0", "type": "function",
        "function": {"name": "exec", "arguments": arguments}}]);
    provider.answers_once(Reply::stream().tool_calls(&call).finish("tool_calls").usage(7, 3).done());
    (installation, provider)
}

#[tokio::test]
async fn tool_calls_are_shown_beside_the_answer() {
    let (installation, provider) = with_program("echo done").await;
    let output = clawdbot_with(&installation, &["agent", "--message", "go"]).await;
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), "hello\n".to_owned()), "{output:?}");
    let shown = stderr(&output);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "tool exec started command=echo done", "{shown}");
    assert!(lines[1].starts_with("tool exec finished in "), "{shown}");
    assert!(provider.last_asked().messages().last().unwrap()["content"].as_str().unwrap().contains("done"));

    let (installation, _provider) = with_program("echo done").await;
    let output = clawdbot_with(&installation, &["agent", "--json", "--message", "go"]).await;
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["started", "usage", "tool_started", "tool_finished", "text_delta", "finished"]);
    assert_eq!(events[2]["arguments"], r#"{"command":"echo done"}"#);
}

#[tokio::test]
async fn an_interrupt_ends_a_program_that_runs() {
    let (installation, _provider) = with_program("sleep 600").await;
    let mut child = started(&installation, &["--json", "--message", "go"]);
    let mut lines = String::new();
    let out = child.stdout.as_mut().unwrap();
    while !lines.contains("tool_started") {
        let mut buffer = [0; 1024];
        let read = soon("the tool is started", out.read(&mut buffer)).await.unwrap();
        assert_ne!(read, 0, "it ended: {lines}");
        lines.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    interrupt(&child);
    let output = output(child).await;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let last: Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["code"]), (&json!("failed"), &json!("cancelled")));
    assert_eq!(stderr(&output).lines().last(), Some("cancelled"));
}
