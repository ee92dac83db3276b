//! An MCP server that can do what servers do to their clients: answer, fail, hang, die, change.

use std::sync::Arc;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CancelledNotificationParam, ContentBlock, JsonObject,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolsCapability,
    },
    service::{NotificationContext, RequestContext},
};
use tokio::sync::watch;

/// The tools at first, in pages of three. `grow` adds `grown`.
const TOOLS: [&str; 11] = [
    "echo",
    "fail",
    "refuse",
    "hang",
    "wait_for_hang",
    "wait_for_cancel",
    "die",
    "grow",
    "environment",
    "picture",
    "too_long",
];

/// The server. Its clones are one server.
#[derive(Clone, Default)]
pub(crate) struct FakeServer {
    /// What is said instead of a list.
    pub(crate) list_refusal: Option<Arc<str>>,
    /// Whether no list comes after `grow`.
    pub(crate) lists_once: bool,
    pub(crate) facts: Arc<Facts>,
}

/// What has happened.
#[derive(Default)]
pub(crate) struct Facts {
    hangs: watch::Sender<bool>,
    cancelled: watch::Sender<bool>,
    grown: watch::Sender<bool>,
}

impl FakeServer {
    fn names(&self) -> Vec<&'static str> {
        let grown = (*self.facts.grown.borrow()).then_some("grown");
        TOOLS.into_iter().chain(grown).collect()
    }

    async fn run(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        let holds = |fact: &watch::Sender<bool>| {
            let mut receiver = fact.subscribe();
            async move { drop(receiver.wait_for(|holds| *holds).await) }
        };
        match &*request.name {
            "echo" => Ok(serde_json::to_string(&request.arguments).expect("arguments are JSON")),
            "hang" => {
                self.facts.hangs.send_replace(true);
                context.ct.cancelled().await;
                Ok("cancelled".to_owned())
            }
            "wait_for_hang" => {
                holds(&self.facts.hangs).await;
                Ok("it hangs".to_owned())
            }
            "wait_for_cancel" => {
                holds(&self.facts.cancelled).await;
                Ok("it was cancelled".to_owned())
            }
            "too_long" => Ok("x".repeat(9 * 1024 * 1024)),
            "die" => std::process::exit(3),
            "grow" => {
                self.facts.grown.send_replace(true);
                let told = context.peer.notify_tool_list_changed().await;
                told.map(|()| "grown".to_owned()).map_err(|error| ErrorData::internal_error(error.to_string(), None))
            }
            "environment" => {
                let mut names: Vec<String> =
                    std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
                names.sort();
                Ok(names.join(" "))
            }
            other => Err(ErrorData::invalid_params(format!("no tool `{other}`"), None)),
        }
    }
}

impl ServerHandler for FakeServer {
    fn get_info(&self) -> ServerConfig {
        let mut tools = ToolsCapability::default();
        tools.list_changed = Some(true);
        ServerConfig::new(ServerCapabilities::builder().enable_tools_with(tools).build())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if let Some(refusal) = &self.list_refusal {
            return Err(ErrorData::internal_error(refusal.to_string(), None));
        }
        if self.lists_once && *self.facts.grown.borrow() {
            self.facts.hangs.send_replace(true);
            std::future::pending::<()>().await;
        }
        let from: usize = request.and_then(|request| request.cursor?.parse().ok()).unwrap_or(0);
        let names = self.names();
        let to = (from + 3).min(names.len());
        let tool = |name: &&'static str| Tool::new(*name, format!("Does {name}."), JsonObject::new());
        let mut page = ListToolsResult::with_all_items(names[from..to].iter().map(tool).collect());
        page.next_cursor = (to < names.len()).then(|| to.to_string());
        Ok(page)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let result = match &*request.name {
            "fail" => CallToolResult::error(vec![ContentBlock::text("no such file")]),
            "picture" => CallToolResult::success(vec![ContentBlock::image("aGVsbG8=", "image/png")]),
            _ => CallToolResult::success(vec![ContentBlock::text(self.run(request, context).await?)]),
        };
        Ok(result.into())
    }

    async fn on_cancelled(&self, _: CancelledNotificationParam, _: NotificationContext<RoleServer>) {
        self.facts.cancelled.send_replace(true);
    }
}
