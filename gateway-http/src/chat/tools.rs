//! The client's own tools, and which of them the model may call.

use std::collections::HashSet;

use proto::agent::v1::{FunctionTool, ToolChoice, tool_choice::Mode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::object::Object;
use crate::error::ApiError;

/// The most tools that a request may offer.
pub(crate) const MAX_TOOLS: usize = 128;
const MAX_NAME_BYTES: usize = 64;
pub(crate) const INVALID_NAME: &str = "expected 1 to 64 letters, digits, underscores and dashes";

/// A tool as it is written.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatTool")]
pub(super) struct WireTool {
    #[schemars(extend("const" = "function"))]
    r#type: String,
    #[schemars(required)]
    function: Option<Object<WireFunction>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatFunction")]
struct WireFunction {
    #[schemars(length(min = 1))]
    name: String,
    description: Option<String>,
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// A tool choice as it is written.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `none`, `auto`, `required`, or a function of `tools`")]
#[schemars(rename = "ChatToolChoice")]
pub(super) enum WireToolChoice {
    Mode(#[schemars(extend("enum" = ["none", "auto", "required"]))] String),
    Object(Object<WireChoice>),
}

/// Which fields must be there depends on the type.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatToolChoiceObject")]
pub(super) struct WireChoice {
    r#type: Option<String>,
    function: Option<Object<Named>>,
    allowed_tools: Option<Object<Allowed>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatNamedFunction")]
struct Named {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatAllowedTools")]
struct Allowed {
    mode: String,
    tools: Vec<Object<AllowedTool>>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ChatAllowedTool")]
struct AllowedTool {
    function: Object<Named>,
}

/// Whether this can be the name of a tool, or of a schema.
pub(crate) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether a value, which is handed on as it is written, is an object.
pub(crate) fn is_object(value: &RawValue) -> bool {
    value.get().trim_start().starts_with('{')
}

/// The tools that the model is offered, and which of them it may or must call. Without tools there is nothing to choose,
/// unless a call is asked for.
pub(super) fn check(
    tools: impl Iterator<Item = WireTool>,
    choice: Option<WireToolChoice>,
) -> Result<(Vec<FunctionTool>, Option<ToolChoice>), ApiError> {
    let mut names = HashSet::new();
    let mut offered = Vec::new();
    for (index, tool) in tools.enumerate() {
        if index == MAX_TOOLS {
            return Err(ApiError::invalid_value("tools", &format!("at most {MAX_TOOLS} tools may be offered")));
        }
        let tool = tool.check(index)?;
        if !names.insert(tool.name.clone()) {
            let reason = format!("another tool is called `{}` too", tool.name);
            return Err(ApiError::invalid_value(format!("tools[{index}].function.name"), &reason));
        }
        offered.push(tool);
    }
    let choice = choice.map(|choice| choice.check(&mut offered)).transpose()?;
    let choice = choice.filter(|_| !offered.is_empty());
    Ok((offered, choice))
}

impl WireTool {
    /// `index` is the tool's place in `tools`.
    fn check(self, index: usize) -> Result<FunctionTool, ApiError> {
        let field = |name: &str| format!("tools[{index}].{name}");
        if self.r#type != "function" {
            return Err(ApiError::invalid_value(field("type"), "only function tools are supported"));
        }
        let missing = || ApiError::invalid_value(field("function"), "is missing");
        let Object(function) = self.function.ok_or_else(missing)?;
        if !is_name(&function.name) {
            return Err(ApiError::invalid_value(field("function.name"), INVALID_NAME));
        }
        if function.parameters.as_ref().is_some_and(|parameters| !is_object(parameters)) {
            return Err(ApiError::invalid_value(field("function.parameters"), "must be an object"));
        }
        Ok(FunctionTool {
            name: function.name,
            description: function.description.unwrap_or_default(),
            parameters: function.parameters.map(|parameters| parameters.get().to_owned()).unwrap_or_default(),
            strict: function.strict,
        })
    }
}

impl WireToolChoice {
    /// Takes the tools away that the choice does not allow.
    fn check(self, tools: &mut Vec<FunctionTool>) -> Result<ToolChoice, ApiError> {
        match self {
            Self::Mode(mode) => of_mode("tool_choice", &mode, &["none", "auto", "required"], tools),
            Self::Object(Object(choice)) => choice.check(tools),
        }
    }
}

impl WireChoice {
    fn check(self, tools: &mut Vec<FunctionTool>) -> Result<ToolChoice, ApiError> {
        let invalid = |field: &str, reason: &str| Err(ApiError::invalid_value(field, reason));
        match (self.r#type.as_deref(), self.function, self.allowed_tools) {
            (Some("function") | None, Some(Object(Named { name })), _) => {
                known("tool_choice", &name, tools)?;
                Ok(ToolChoice { mode: Mode::Function.into(), name })
            }
            (Some("function") | None, None, _) => invalid("tool_choice.function", "is missing"),
            (Some("allowed_tools"), _, Some(Object(allowed))) => {
                let allowed_names: HashSet<String> = allowed
                    .tools
                    .into_iter()
                    .map(|Object(AllowedTool { function: Object(named) })| named.name)
                    .collect();
                for name in &allowed_names {
                    known("tool_choice.allowed_tools", name, tools)?;
                }
                tools.retain(|tool| allowed_names.contains(&tool.name));
                of_mode("tool_choice.allowed_tools.mode", &allowed.mode, &["auto", "required"], tools)
            }
            (Some("allowed_tools"), _, None) => invalid("tool_choice.allowed_tools", "is missing"),
            (Some(other), ..) => invalid("tool_choice.type", &format!("`{other}` is none of function, allowed_tools")),
        }
    }
}

fn of_mode(field: &str, mode: &str, modes: &[&str], tools: &[FunctionTool]) -> Result<ToolChoice, ApiError> {
    let chosen = match mode {
        "none" => Mode::None,
        "required" if tools.is_empty() => {
            return Err(ApiError::invalid_value(field, "`required`, but there are no tools"));
        }
        "required" => Mode::Required,
        _ => Mode::Auto,
    };
    if !modes.contains(&mode) {
        return Err(ApiError::invalid_value(field, &format!("`{mode}` is none of {}", modes.join(", "))));
    }
    Ok(ToolChoice { mode: chosen.into(), name: String::new() })
}

fn known(field: &str, name: &str, tools: &[FunctionTool]) -> Result<(), ApiError> {
    if tools.iter().any(|tool| tool.name == name) {
        return Ok(());
    }
    Err(ApiError::invalid_value(field, &format!("there is no tool `{name}`")))
}
