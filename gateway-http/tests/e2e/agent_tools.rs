//! The agent's own tools: which it has, what they do in its workspace, and what the client sees of it.

use std::{fs, path::PathBuf};

use nix::{sys::signal::kill, unistd::Pid};
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Signal, Topology, each_topology, eventually, user},
    provider::{Asked, Reply},
};

each_topology![
    without_a_tools_block_an_agent_has_none,
    a_tool_works_in_the_workspace_and_the_client_sees_the_answer,
    a_turn_with_tools_is_kept_whole,
    a_tool_that_fails_is_told_to_the_model,
    nothing_outside_of_the_workspace_is_reached,
    programs_are_run_only_when_it_is_allowed,
    a_program_ends_with_a_runner_that_is_told_twice,
    private_addresses_are_not_fetched,
    the_agents_tools_and_the_clients_are_used_in_one_run,
    a_tool_of_the_client_must_not_have_the_name_of_the_agents,
];

/// A gateway whose agents may do what the patch of `tools` says, in the folder `workspace` of the state folder.
async fn with_tools(topology: Topology, tools: Value) -> (Gateway, PathBuf) {
    let gateway = Gateway::on(topology).await;
    let workspace = gateway.state().join("workspace");
    fs::create_dir(&workspace).unwrap();
    fs::write(workspace.join("notes.txt"), "The number is 42.\n").unwrap();
    let config = json!({"tools": tools, "agents": {"defaults": {"workspace": workspace}}});
    (gateway.config(config).start().await, workspace)
}

/// The model calls these tools, as name and arguments, with the ids `call_0`, `call_1` and so on.
fn calls(calls: &[(&str, Value)]) -> Reply {
    let deltas: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(index, (name, arguments))| {
            json!({
                "index": index, "id": format!("call_{index}"), "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()},
            })
        })
        .collect();
    Reply::stream().tool_calls(&json!(deltas)).finish("tool_calls").usage(7, 3).done()
}

/// The names of the tools that the model was offered.
fn offered(asked: &Asked) -> Vec<String> {
    let tools = asked.body["tools"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = tools.iter().map(|tool| tool["function"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// What the model was told of its calls, in their order.
fn results(asked: &Asked) -> Vec<String> {
    let messages = asked.messages();
    let of_tools = messages.iter().filter(|message| message["role"] == "tool");
    of_tools.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Has the model make one call, and returns what it was told.
async fn told(gateway: &Gateway, name: &str, arguments: Value) -> String {
    gateway.provider.answers_once(calls(&[(name, arguments)]));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    results(&gateway.provider.last_asked()).pop().expect("a result")
}

async fn without_a_tools_block_an_agent_has_none(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    gateway.ask("hi").send().await.content();
    assert_eq!(gateway.provider.last_asked().body.get("tools"), None);
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "minimal"})).await;
    gateway.ask("hi").send().await.content();
    assert_eq!(offered(&gateway.provider.last_asked()), ["session_status"]);
}

async fn a_tool_works_in_the_workspace_and_the_client_sees_the_answer(topology: Topology) {
    let (gateway, workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    let write = json!({"path": "letters/to-bob.txt", "content": "Dear Bob\n"});
    gateway.provider.answers_once(calls(&[("read", json!({"path": "notes.txt"})), ("write", write)]));
    gateway.provider.answers_once(Reply::text(&["It is ", "42."]));
    let events = gateway.ask("What is the number?").with("stream_options", json!({"include_usage": true}));
    let events = events.stream().await.end().await;
    assert_eq!(events.content(), "It is 42.");
    let chunks = events.chunks();
    assert!(chunks.iter().all(|chunk| chunk["choices"][0]["delta"].get("tool_calls").is_none()), "{chunks:#?}");
    // Both questions are paid for.
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 20);

    let asked = gateway.provider.asked();
    let tools = ["apply_patch", "edit", "memory_search", "read", "session_status", "write"];
    assert_eq!(offered(&asked[0]), tools);
    let told = results(&asked[1]);
    assert!(told[0].contains("The number is 42."), "{told:?}");
    assert_eq!(fs::read_to_string(workspace.join("letters/to-bob.txt")).unwrap(), "Dear Bob\n");
}

async fn a_turn_with_tools_is_kept_whole(topology: Topology) {
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    gateway.provider.answers_once(calls(&[("read", json!({"path": "notes.txt"}))]));
    let answer = gateway.ask("hi").user("alice").send().await;
    let key = answer.header("x-clawdbot-session-key").to_owned();
    let messages = gateway.session("GET", &key, "/messages").send().await.json();
    let roles: Vec<_> = messages["data"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    gateway.ask("and now?").user("alice").send().await.content();
    let roles: Vec<_> =
        gateway.provider.last_asked().messages().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles[roles.len() - 5..], ["user", "assistant", "tool", "assistant", "user"]);
}

async fn a_tool_that_fails_is_told_to_the_model(topology: Topology) {
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    for (name, arguments, part) in [
        ("read", json!({"path": "nothing.txt"}), "nothing.txt"),
        ("read", json!({"pat": "notes.txt"}), "path"),
        ("read", json!("notes.txt"), "Error"),
        ("launch_missiles", json!({}), "there is no tool called `launch_missiles`"),
    ] {
        let told = told(&gateway, name, arguments).await;
        assert!(told.starts_with("Error: ") && told.contains(part), "{name}: {told}");
    }
}

async fn nothing_outside_of_the_workspace_is_reached(topology: Topology) {
    let (gateway, workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    let secret = workspace.parent().unwrap().join("secret.txt");
    fs::write(&secret, "the treasure").unwrap();
    std::os::unix::fs::symlink(&secret, workspace.join("link.txt")).unwrap();
    std::os::unix::fs::symlink(workspace.parent().unwrap(), workspace.join("up")).unwrap();
    for path in ["../secret.txt", "link.txt", "up/secret.txt", secret.to_str().unwrap(), "/proc/self/environ"] {
        let read = told(&gateway, "read", json!({"path": path})).await;
        assert!(read.starts_with("Error: "), "{path}: {read}");
        let written = told(&gateway, "write", json!({"path": path, "content": "gone"})).await;
        // A link in the workspace may be replaced by a file; what it points to may not.
        assert!(written.starts_with("Error: ") || path == "link.txt", "{path}: {written}");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "the treasure", "{path}");
    }
}

async fn programs_are_run_only_when_it_is_allowed(topology: Topology) {
    let allow = |exec: Value| json!({"profile": "coding", "exec": exec});
    let (gateway, _workspace) =
        with_tools(topology, allow(json!({"security": "allowlist", "safeBins": ["cat"]}))).await;
    let run = told(&gateway, "exec", json!({"command": "cat notes.txt"})).await;
    assert!(run.contains("The number is 42."), "{run}");
    for command in ["ls", "/bin/ls", "./cat notes.txt", "sh -c ls"] {
        let run = told(&gateway, "exec", json!({"command": command})).await;
        assert!(run.starts_with("Error: "), "{command}: {run}");
    }
    let (gateway, _workspace) = with_tools(topology, allow(json!({"security": "full"}))).await;
    let run = told(&gateway, "exec", json!({"command": "env; pwd", "shell": true})).await;
    assert!(run.contains("/workspace") && !run.contains("CLAWDBOT_"), "{run}");
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    let run = told(&gateway, "exec", json!({"command": "ls"})).await;
    assert_eq!(run, "Error: there is no tool called `exec`");
}

async fn a_program_ends_with_a_runner_that_is_told_twice(topology: Topology) {
    let tools = json!({"profile": "coding", "exec": {"security": "full"}});
    let (mut gateway, workspace) = with_tools(topology, tools).await;
    let command = json!({"command": "echo $$ > pid.part && mv pid.part pid && exec sleep 600", "shell": true});
    gateway.provider.answers_once(calls(&[("exec", command)]));
    let stream = gateway.ask("hi").stream();
    let pid_file = workspace.join("pid");
    let begun = eventually("the program runs", async || pid_file.exists());
    let (_stream, ()) = tokio::join!(stream, begun);
    let pid = Pid::from_raw(fs::read_to_string(pid_file).unwrap().trim().parse().unwrap());
    let runner = match topology {
        Topology::OneProcess => "clawdbot",
        Topology::ThreeProcesses => "agent-runner",
    };
    let runner = gateway.process(runner);
    runner.signal(Signal::SIGTERM);
    runner.signal(Signal::SIGINT);
    assert_eq!(runner.exit().await.code(), Some(130));
    eventually("the program is gone", async || kill(pid, None).is_err()).await;
}

async fn private_addresses_are_not_fetched(topology: Topology) {
    let (gateway, _workspace) = with_tools(topology, json!({"alsoAllow": ["web_fetch"]})).await;
    let port = gateway.port();
    for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "169.254.169.254"] {
        let fetched = told(&gateway, "web_fetch", json!({"url": format!("http://{host}:{port}/healthz")})).await;
        assert!(fetched.starts_with("Error: "), "{host}: {fetched}");
    }
}

async fn the_agents_tools_and_the_clients_are_used_in_one_run(topology: Topology) {
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    let weather = json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]);
    gateway.provider.answers_once(calls(&[("read", json!({"path": "notes.txt"})), ("get_weather", json!({}))]));
    let ask = || gateway.ask("hi").user("alice").with("tools", weather.clone());
    let answer = ask().send().await.json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let made = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!((&made[0]["id"], &made[0]["function"]["name"]), (&json!("call_1"), &json!("get_weather")));

    // The client knows of its own call only, and answers that.
    let sunny = json!({"role": "tool", "tool_call_id": "call_1", "content": "sunny"});
    let messages = json!([user("hi"), choice["message"], sunny]);
    let answer = gateway.chat(json!({"model": "clawdbot", "messages": messages, "tools": weather})).user("alice");
    assert_eq!(answer.send().await.content(), "hello");
    let told = results(&gateway.provider.last_asked());
    assert!(told[0].contains("42") && told[1] == "sunny", "{told:?}");
}

async fn a_tool_of_the_client_must_not_have_the_name_of_the_agents(topology: Topology) {
    let (gateway, _workspace) = with_tools(topology, json!({"profile": "coding"})).await;
    let read = json!([{"type": "function", "function": {"name": "read"}}]);
    let answer = gateway.ask("hi").with("tools", read).send().await;
    answer.assert_error(400, "invalid_request_error", "invalid_value");
    assert_eq!(answer.json()["error"]["param"], "tools");
}
