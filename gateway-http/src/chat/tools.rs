//! The client's own tools, and which of them the model may call.

use proto::agent::v1::{FunctionTool, ToolChoice, tool_choice::Mode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;

/// A tool as it is written.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatTool")]
pub(super) struct WireTool {
    #[schemars(extend("const" = "function"))]
    r#type: String,
    #[schemars(required)]
    function: Option<WireFunction>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatFunction")]
struct WireFunction {
    #[schemars(length(min = 1))]
    name: String,
    description: Option<String>,
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    parameters: Option<Value>,
    strict: Option<bool>,
}

/// A tool choice as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `none`, `auto`, `required`, or a function of `tools`")]
#[schemars(rename = "ChatToolChoice")]
pub(super) enum WireToolChoice {
    Mode(#[schemars(extend("enum" = ["none", "auto", "required"]))] String),
    Function { function: NamedFunction },
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatNamedFunction")]
pub(super) struct NamedFunction {
    name: String,
}

impl WireTool {
    /// `index` is the tool's place in `tools`.
    pub(super) fn check(self, index: usize) -> Result<FunctionTool, ApiError> {
        let field = |name: &str| format!("tools[{index}].{name}");
        if self.r#type != "function" {
            return Err(ApiError::invalid_value(field("type"), "only function tools are supported"));
        }
        let function = self.function.ok_or_else(|| ApiError::invalid_value(field("function"), "is missing"))?;
        if function.name.trim().is_empty() {
            return Err(ApiError::invalid_value(field("function.name"), "is empty"));
        }
        if function.parameters.as_ref().is_some_and(|parameters| !parameters.is_object()) {
            return Err(ApiError::invalid_value(field("function.parameters"), "must be an object"));
        }
        Ok(FunctionTool {
            name: function.name,
            description: function.description.unwrap_or_default(),
            parameters: function.parameters.map(|parameters| parameters.to_string()).unwrap_or_default(),
            strict: function.strict,
        })
    }

    fn is_called(&self, name: &str) -> bool {
        self.function.as_ref().is_some_and(|function| function.name == name)
    }
}

impl WireToolChoice {
    /// Without tools there is nothing to choose, unless a call is asked for.
    pub(super) fn check(self, tools: &[WireTool]) -> Result<Option<ToolChoice>, ApiError> {
        let invalid = |reason: &str| Err(ApiError::invalid_value("tool_choice", reason));
        let (mode, name) = match self {
            Self::Mode(mode) => match mode.as_str() {
                "none" => (Mode::None, String::new()),
                "auto" => (Mode::Auto, String::new()),
                "required" if tools.is_empty() => return invalid("`required`, but there are no tools"),
                "required" => (Mode::Required, String::new()),
                _ => return invalid(&format!("`{mode}` is none of none, auto, required")),
            },
            Self::Function { function } if !tools.iter().any(|tool| tool.is_called(&function.name)) => {
                return invalid(&format!("there is no tool `{}`", function.name));
            }
            Self::Function { function } => (Mode::Function, function.name),
        };
        Ok((!tools.is_empty()).then(|| ToolChoice { mode: mode.into(), name }))
    }
}
