//! What the agents' own folders and the runner add to their prompts.

use std::{fs, path::Path};

use serde_json::json;

use crate::harness::{Gateway, Topology, each_topology, eventually, user};

each_topology![every_prompt_tells_the_facts, a_workspace_is_part_of_the_prompt_as_it_is_now];

async fn every_prompt_tells_the_facts(topology: Topology) {
    let gateway = Gateway::with_config(topology, json!({"agents": {"defaults": {"userTimezone": "UTC"}}})).await;
    let messages = json!([{"role": "system", "content": "Be brief."}, user("hi")]);
    gateway.chat(json!({"model": "clawdbot:beta", "messages": messages})).send().await.content();
    let system = gateway.provider.last_asked().system();
    let facts = system.strip_prefix("You are beta.\n\n").and_then(|rest| rest.strip_suffix("\n\nBe brief."));
    let facts = facts.unwrap_or_else(|| panic!("the facts stand between the agent's part and the client's: {system}"));
    let date = facts.strip_prefix("Facts: today is ").and_then(|rest| rest.split_once(" (UTC)"));
    let (date, rest) = date.unwrap_or_else(|| panic!("{facts}"));
    let (weekday, date) = date.split_once(", ").unwrap();
    assert!(weekday.ends_with("day") && date.len() == "2026-11-25".len(), "{facts}");
    assert_eq!(rest, "; agent beta; model stub/test-model.");
}

async fn a_workspace_is_part_of_the_prompt_as_it_is_now(topology: Topology) {
    let gateway = Gateway::start(topology).await;
    let workspace = gateway.installation().home().join("clawd-beta");
    let instructions = async || {
        gateway.ask("hi").with("model", "clawdbot:beta").send().await.content();
        gateway.provider.last_asked().instructions().join("\n\n")
    };
    assert_eq!(instructions().await, "You are beta.");
    write(&workspace, "SOUL.md", "Kind.");
    write(&workspace, "AGENTS.md", "Help.");
    let expected = "You are beta.\n\n# Project context\n\n## AGENTS.md\n\nHelp.\n\n## SOUL.md\n\nKind.";
    eventually("the workspace is seen", async || instructions().await == expected).await;
    write(&workspace, "SOUL.md", "Stern.");
    let expected = expected.replace("Kind.", "Stern.");
    eventually("the change is seen", async || instructions().await == expected).await;
    // It is nobody else's.
    gateway.ask("hi").send().await.content();
    assert_eq!(gateway.provider.last_asked().instructions(), [""; 0]);
}

fn write(workspace: &Path, name: &str, content: &str) {
    fs::create_dir_all(workspace).unwrap();
    fs::write(workspace.join(name), content).unwrap();
}
