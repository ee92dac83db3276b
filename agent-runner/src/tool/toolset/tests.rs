//! What a run has of built-in tools and those of servers.

use serde_json::{Value, json};

use super::*;
use crate::{
    mcp::tests::process,
    tool::{Call, Calling, policy::Scope},
};

/// A tool that only has a name.
struct Named(FunctionTool);

impl Tool for Named {
    fn definition(&self) -> &FunctionTool {
        &self.0
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn call<'a>(&'a self, _: Call<'a>) -> Calling<'a> {
        Box::pin(async { Ok(String::new()) })
    }
}

fn tools(agents: &[(&str, Value)], servers: Servers) -> Tools {
    let builtin = || {
        let named = |name: &&str| Arc::new(Named(FunctionTool { name: (*name).to_owned(), ..FunctionTool::default() }));
        ["read", "exec", "session_status"].iter().map(|name| named(name) as Arc<dyn Tool>).collect::<Vec<_>>()
    };
    let agent = |(id, block): &(&str, Value)| {
        let scope: Option<Scope> = serde_json::from_value(block.clone()).expect("a valid block");
        (id.parse().expect("an id"), builtin(), Policy::new(None, scope.as_ref()))
    };
    Tools::new(agents.iter().map(agent), servers, Workspaces::new())
}

async fn run(tools: &Tools, agent_id: &str, model: &str) -> Arc<Toolset> {
    run_with(tools, agent_id, &[model]).await
}

async fn run_with(tools: &Tools, agent_id: &str, models: &[&str]) -> Arc<Toolset> {
    let models: Vec<ModelName> = models.iter().map(|model| model.parse().expect("a model")).collect();
    tools.for_run(&agent_id.parse().expect("an id"), &models).await
}

fn names(toolset: &Toolset) -> Vec<&str> {
    toolset.definitions().iter().map(|definition| &*definition.name).collect()
}

#[tokio::test]
async fn an_agent_without_tools_shares_the_empty_set() {
    let tools = tools(&[("main", Value::Null)], Servers::new(Vec::new()));
    let (known, unknown) = (run(&tools, "main", "p/m").await, run(&tools, "nobody", "p/m").await);
    assert!(known.is_empty() && Arc::ptr_eq(&known, &unknown));
}

#[tokio::test]
async fn a_set_is_made_once_for_all_models_with_the_same_rules() {
    let block = json!({"profile": "coding", "byProvider": {"small": {"profile": "minimal"}}});
    let tools = tools(&[("main", block)], Servers::new(Vec::new()));
    let large = run(&tools, "main", "large/a").await;
    assert_eq!(names(&large), ["read", "exec", "session_status"]);
    assert!(large.get("exec").is_some() && large.get("write").is_none());
    assert!(Arc::ptr_eq(&large, &run(&tools, "main", "large/b").await));
    assert_eq!(names(&*run(&tools, "main", "small/a").await), ["session_status"]);
}

#[tokio::test]
async fn a_run_has_what_each_of_its_models_may_use() {
    let by_provider = json!({"small": {"profile": "minimal"}, "large/b": {"deny": ["read", "mcp__*"]}});
    let block = json!({"profile": "coding", "byProvider": by_provider});
    // A server of which one of the models may use nothing is not started.
    let tools = tools(&[("main", block)], Servers::new(vec![process("unused", &["silent"])]));
    let both = run_with(&tools, "main", &["large/a", "large/b"]).await;
    assert_eq!(names(&both), ["exec", "session_status"]);
    assert!(Arc::ptr_eq(&both, &run_with(&tools, "main", &["large/b", "large/c", "large/a"]).await));
    assert_eq!(names(&*run_with(&tools, "main", &["large/a", "large/b", "small/a"]).await), ["session_status"]);
}

#[tokio::test]
async fn the_tools_of_servers_follow_those_built_in_and_their_changes() {
    let servers = Servers::new(vec![process("a", &[]), process("broken", &["broken"]), process("unused", &["silent"])]);
    let block = json!({"deny": ["mcp__unused__*", "mcp__a__[a-z]", "mcp__a__d*", "mcp__a__*_*"]});
    let tools = tools(&[("main", block)], servers);
    let toolset = run(&tools, "main", "p/m").await;
    let expected = ["session_status", "mcp__a__echo", "mcp__a__fail", "mcp__a__refuse", "mcp__a__hang"];
    assert_eq!(names(&toolset), [&expected[..], &["mcp__a__grow", "mcp__a__environment", "mcp__a__picture"]].concat());
    assert!(Arc::ptr_eq(&toolset, &run(&tools, "main", "p/m").await));
    let run_facts = crate::tool::RunFacts {
        run_id: "run".into(),
        agent_id: "main".parse().expect("an id"),
        session_key: None,
        model: "p/m".parse().expect("a model"),
        message_count: 0,
    };
    let grow = toolset.get("mcp__a__grow").expect("it is there");
    grow.call(Call { arguments: "", run: &run_facts }).await.expect("it grows");
    while run(&tools, "main", "p/m").await.get("mcp__a__grown").is_none() {
        tokio::task::yield_now().await;
    }
    tools.shutdown().await;
}
