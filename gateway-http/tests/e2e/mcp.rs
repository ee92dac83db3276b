//! A real MCP server, `mcp-server-fetch` of the Model Context Protocol's own collection, as an agent's tools.

use std::{env, fs, path::PathBuf, str::FromStr};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::{
    harness::{Gateway, Topology, each_topology},
    provider::{Provider, Reply},
};

each_topology![
    an_mcp_servers_tools_are_listed_and_called,
    a_server_that_is_killed_in_a_call_is_started_again,
    a_server_that_does_not_start_leaves_the_agent_without_its_tools,
];

/// The server in the folder of the Python that `just test` has prepared.
#[expect(clippy::disallowed_methods, reason = "nobody hands a test its environment")]
fn server() -> PathBuf {
    let python = env::var_os("CLAWDBOT_TEST_PYTHON")
        .expect("CLAWDBOT_TEST_PYTHON is not set: run `just test`, which installs the server first");
    PathBuf::from(python).with_file_name("mcp-server-fetch")
}

/// A gateway with that server as `web`, whose process id is in the file that comes with it.
async fn with_server(topology: Topology) -> (Gateway, PathBuf) {
    let gateway = Gateway::on(topology).await;
    let pid = gateway.state().join("mcp.pid");
    let script =
        format!("echo $$ > {} && exec {} --ignore-robots-txt --allow-private-ips", pid.display(), server().display());
    let server = json!({"command": "/bin/sh", "args": ["-c", script], "env": {"NO_PROXY": "*"}});
    let tools = json!({"mcp": {"servers": {"web": server}}});
    (gateway.config(json!({"tools": tools})).start().await, pid)
}

/// The model fetches a page by the server's tool.
fn fetches(url: &str) -> Reply {
    let arguments = json!({"url": url, "raw": true}).to_string();
    let call = json!([{"index": 0, "id": "call_0", "type": "function",
        "function": {"name": "mcp__web__fetch", "arguments": arguments}}]);
    Reply::stream().tool_calls(&call).finish("tool_calls").usage(7, 3).done()
}

fn told(gateway: &Gateway) -> String {
    let messages = gateway.provider.last_asked().messages();
    let last: &Value = messages.last().unwrap();
    assert_eq!(last["role"], "tool");
    last["content"].as_str().unwrap().to_owned()
}

async fn an_mcp_servers_tools_are_listed_and_called(topology: Topology) {
    let (gateway, pid) = with_server(topology).await;
    assert!(!pid.exists(), "the server is started before anybody needs it");
    let page = Provider::start().await;
    page.answers(Reply::error(200, "page", "", "the rain in Spain"));
    gateway.provider.answers_once(fetches(&page.base_url()));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let tools = gateway.provider.asked()[0].body["tools"].clone();
    let fetch = tools.as_array().unwrap().iter().find(|tool| tool["function"]["name"] == "mcp__web__fetch");
    let fetch = &fetch.expect("the tool is offered")["function"];
    assert_eq!(fetch["parameters"]["properties"]["url"]["type"], "string", "{fetch:#}");
    assert!(fetch["description"].as_str().unwrap().contains("URL"), "{fetch:#}");
    let told = told(&gateway);
    assert!(told.contains("the rain in Spain"), "{told}");
}

async fn a_server_that_is_killed_in_a_call_is_started_again(topology: Topology) {
    let (gateway, pid_file) = with_server(topology).await;
    let page = Provider::start().await;
    page.answers_once(Reply::silence());
    page.answers(Reply::error(200, "page", "", "the rain in Spain"));
    let pid = || Pid::from_raw(i32::from_str(fs::read_to_string(&pid_file).unwrap().trim()).unwrap());

    gateway.provider.answers_once(fetches(&page.base_url()));
    let answer = gateway.ask("hi").send();
    let killed = async {
        page.request(1).await;
        let pid = pid();
        kill(pid, Signal::SIGKILL).unwrap();
        pid
    };
    let (answer, killed) = tokio::join!(answer, killed);
    assert_eq!(answer.content(), "hello");
    let failed = told(&gateway);
    assert!(failed.starts_with("Error: "), "{failed}");

    gateway.provider.answers_once(fetches(&page.base_url()));
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let told = told(&gateway);
    assert!(told.contains("the rain in Spain"), "{told}");
    assert_ne!(pid(), killed);
}

async fn a_server_that_does_not_start_leaves_the_agent_without_its_tools(topology: Topology) {
    let broken = json!({"command": "/bin/false"});
    let gateway = Gateway::with_config(topology, json!({"tools": {"mcp": {"servers": {"web": broken}}}})).await;
    assert_eq!(gateway.ask("hi").send().await.content(), "hello");
    let tools = gateway.provider.last_asked().body["tools"].to_string();
    assert!(!tools.contains("mcp__"), "{tools}");
    assert!(gateway.logs().contains("web"), "{}", gateway.logs());
}
