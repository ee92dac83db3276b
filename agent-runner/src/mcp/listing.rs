//! What a server lists, page by page made to fit for a model, so that no list is too long for us.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use proto::agent::v1::FunctionTool;
use rmcp::{
    RoleClient,
    model::{PaginatedRequestParams, Tool},
    service::{Peer, ServiceError},
};

use super::{names::Names, tool::Listed};

/// How many tools of one server there can be; more are left out.
const MAX_TOOLS: usize = 128;
/// How many bytes of names, descriptions and schemas are taken from one server; further tools are left out.
const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;
/// How much of a tool's description is kept.
const MAX_DESCRIPTION_BYTES: usize = 4096;
/// The largest schema of a tool's arguments; a tool with a larger one is left out.
const MAX_SCHEMA_BYTES: usize = 32 * 1024;
/// The longest name of a tool at its server; a tool with a longer one is left out.
const MAX_NAME_BYTES: usize = 1024;

/// The version of the next listing.
static NEXT_VERSION: AtomicU64 = AtomicU64::new(0);

/// The tools that a server has.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// No two listings have the same.
    pub(crate) version: u64,
    pub(crate) tools: Arc<[Arc<Listed>]>,
}

impl Listing {
    pub(super) fn new(tools: Arc<[Arc<Listed>]>) -> Self {
        Self { version: NEXT_VERSION.fetch_add(1, Ordering::Relaxed), tools }
    }

    /// Takes these tools for the old ones. A list that has not changed keeps its version.
    pub(super) fn update(&mut self, tools: Arc<[Arc<Listed>]>) {
        if self.tools != tools {
            *self = Self::new(tools);
        }
    }
}

/// Lists one server's tools, as often as need be, and says once each what is wrong with them.
#[derive(Debug)]
pub(super) struct Lister {
    server: String,
    has_told_of_number: AtomicBool,
    has_told_of_size: AtomicBool,
}

impl Lister {
    pub(super) fn new(server: &str) -> Self {
        let (has_told_of_number, has_told_of_size) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { server: server.to_owned(), has_told_of_number, has_told_of_size }
    }

    /// Asks for all pages of the tools.
    pub(super) async fn list(&self, peer: &Peer<RoleClient>) -> Result<Arc<[Arc<Listed>]>, ServiceError> {
        let mut gathered = Gathered::new(&self.server);
        // A server without tools may refuse to list them.
        let has_tools = peer.peer_info().is_some_and(|info| info.capabilities.tools.is_some());
        let mut cursor = None;
        // A page of nothing may be followed by others, but not for ever.
        for _ in 0..if has_tools { MAX_TOOLS } else { 0 } {
            let page = peer.list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
            cursor = page.next_cursor;
            if !gathered.take(page.tools) || cursor.is_none() {
                break;
            }
        }
        gathered.is_cut |= cursor.is_some();
        self.tell(&gathered);
        Ok(gathered.tools.into())
    }

    fn tell(&self, gathered: &Gathered<'_>) {
        let server = &self.server;
        if gathered.is_cut && !self.has_told_of_number.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                mcp.server = server,
                "MCP server `{server}` has more tools than are used: {MAX_TOOLS}, of {MAX_LIST_BYTES} bytes together"
            );
        }
        if let Some(first) = &gathered.too_large
            && !self.has_told_of_size.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                mcp.server = server,
                "tools of MCP server `{server}` are left out, since their names or schemas are too large; one is {first}"
            );
        }
    }
}

/// What is kept of the pages so far.
struct Gathered<'a> {
    names: Names<'a>,
    tools: Vec<Arc<Listed>>,
    /// How many tools there were, those left out too.
    seen: usize,
    received_bytes: usize,
    /// Whether there were more tools than are taken.
    is_cut: bool,
    /// The name of the first tool that was left out for its size.
    too_large: Option<String>,
}

impl<'a> Gathered<'a> {
    fn new(server: &'a str) -> Self {
        let names = Names::new(server);
        Self { names, tools: Vec::new(), seen: 0, received_bytes: 0, is_cut: false, too_large: None }
    }

    /// Takes what a page has. Returns whether there is room for another.
    fn take(&mut self, page: Vec<Tool>) -> bool {
        for tool in page {
            if self.seen == MAX_TOOLS || self.received_bytes > MAX_LIST_BYTES {
                self.is_cut = true;
                return false;
            }
            self.seen += 1;
            self.add(tool);
        }
        true
    }

    fn add(&mut self, mut tool: Tool) {
        let name = self.names.of(&tool.name);
        let description = tool.description.take().or(tool.title.take().map(Into::into)).unwrap_or_default();
        // A map of JSON values can always be written.
        let parameters = serde_json::to_string(&*mem::take(&mut tool.input_schema)).unwrap_or_default();
        self.received_bytes += tool.name.len() + description.len() + parameters.len();
        if parameters.len() > MAX_SCHEMA_BYTES || tool.name.len() > MAX_NAME_BYTES {
            self.too_large.get_or_insert(name);
            return;
        }
        let description = description[..description.floor_char_boundary(MAX_DESCRIPTION_BYTES)].to_owned();
        let definition = FunctionTool { name, description, parameters, strict: None };
        let only_reads = tool.annotations.and_then(|annotations| annotations.read_only_hint).unwrap_or(false);
        self.tools.push(Arc::new(Listed { definition, name: tool.name.into_owned(), only_reads }));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn of_size(name: &str, bytes: usize) -> Tool {
        let name = name.to_owned();
        Tool::new(name, "", Map::from_iter([("description".to_owned(), json!("x".repeat(bytes)))]))
    }

    #[test]
    fn a_long_description_is_cut_and_a_tool_with_a_large_schema_or_name_left_out() {
        let mut gathered = Gathered::new("s");
        let has_room = gathered.take(vec![
            Tool::new("a", "ü".repeat(MAX_DESCRIPTION_BYTES), Map::new()),
            of_size("b", MAX_SCHEMA_BYTES),
            Tool::new("c.d", "fine", Map::from_iter([("type".to_owned(), json!("object"))])),
            of_size(&"e".repeat(MAX_NAME_BYTES + 1), 0),
        ]);
        assert!(has_room && !gathered.is_cut);
        let names: Vec<&str> = gathered.tools.iter().map(|tool| &*tool.definition.name).collect();
        assert_eq!(names, ["mcp__s__a", "mcp__s__c_d"]);
        assert_eq!(gathered.tools[0].definition.description.len(), MAX_DESCRIPTION_BYTES);
        assert_eq!(gathered.tools[1].definition.parameters, r#"{"type":"object"}"#);
        assert_eq!(gathered.tools[1].name, "c.d");
        assert_eq!(gathered.too_large.as_deref(), Some("mcp__s__b"));
    }

    #[test]
    fn a_list_that_is_the_same_keeps_its_version() {
        let tools = |names: &[&str]| {
            let mut gathered = Gathered::new("s");
            gathered.take(names.iter().map(|name| of_size(name, 0)).collect());
            gathered.tools.into()
        };
        let mut listing = Listing::new(tools(&["a"]));
        let version = listing.version;
        listing.update(tools(&["a"]));
        assert_eq!(listing.version, version);
        listing.update(tools(&["a", "b"]));
        assert_ne!(listing.version, version);
        assert_eq!(listing.tools.len(), 2);
    }

    #[test]
    fn there_are_no_more_tools_than_the_most() {
        let mut gathered = Gathered::new("s");
        assert!(gathered.take((0..MAX_TOOLS).map(|number| of_size(&number.to_string(), 0)).collect()));
        assert!(!gathered.take(vec![of_size("more", 0)]));
        assert_eq!((gathered.tools.len(), gathered.is_cut), (MAX_TOOLS, true));
    }

    #[test]
    fn pages_of_large_tools_come_to_an_end_before_they_are_too_much() {
        let mut gathered = Gathered::new("s");
        let pages = (0..MAX_TOOLS).take_while(|_| gathered.take(vec![of_size("large", MAX_LIST_BYTES / 4)])).count();
        assert_eq!(pages, 4);
        assert!(gathered.is_cut && gathered.tools.is_empty());
    }
}
