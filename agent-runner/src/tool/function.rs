//! Makes a [`Tool`] of a function with typed arguments, so that what the model is told of them cannot differ from what
//! is read.

use std::sync::Arc;

use proto::agent::v1::FunctionTool;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Call, Calling, Error, RunFacts, Tool};

/// A tool that has its arguments as a Rust type. The doc comments of the fields are what the model reads.
pub(crate) trait Function: Send + Sync + 'static {
    /// What the model calls it.
    const NAME: &'static str;
    /// What it is for, to the model.
    const DESCRIPTION: &'static str;
    /// Whether it changes what other calls may need; see [`Tool::is_exclusive`].
    const IS_EXCLUSIVE: bool = false;
    /// What it is called with.
    type Arguments: DeserializeOwned + JsonSchema + Send;

    /// Does it.
    fn run(&self, arguments: Self::Arguments, run: &RunFacts) -> impl Future<Output = Result<String, Error>> + Send;
}

/// A function as a tool.
struct Typed<F> {
    definition: FunctionTool,
    function: F,
}

/// Makes a tool of a function.
pub(crate) fn tool<F: Function>(function: F) -> Arc<dyn Tool> {
    let definition = FunctionTool {
        name: F::NAME.to_owned(),
        description: F::DESCRIPTION.to_owned(),
        parameters: parameters::<F::Arguments>().to_string(),
        strict: None,
    };
    Arc::new(Typed { definition, function })
}

impl<F: Function> Tool for Typed<F> {
    fn definition(&self) -> &FunctionTool {
        &self.definition
    }

    fn is_exclusive(&self) -> bool {
        F::IS_EXCLUSIVE
    }

    fn call<'a>(&'a self, call: Call<'a>) -> Calling<'a> {
        Box::pin(async move {
            let arguments = read::<F::Arguments>(call.arguments)?;
            self.function.run(arguments, call.run).await
        })
    }
}

fn read<T: DeserializeOwned>(arguments: &str) -> Result<T, Error> {
    let text = if arguments.trim().is_empty() { "{}" } else { arguments };
    let value: Value =
        serde_json::from_str(text).map_err(|error| Error(format!("the arguments are not valid JSON: {error}")))?;
    if !value.is_object() {
        return Err(Error("the arguments must be a JSON object".to_owned()));
    }
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().iter().next() {
        Some(_) => Error(format!("argument `{}`: {}", error.path(), error.inner())),
        None => Error(format!("the arguments do not fit: {}", error.inner())),
    })
}

/// The JSON Schema of a type, with nothing in it that a model has no use for.
fn parameters<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.remove("description");
    }
    compact(&mut schema);
    schema
}

/// Some providers refuse a `format` that they do not know, or several types in one place.
fn compact(schema: &mut Value) {
    let Some(entries) = schema.as_object_mut() else { return };
    for noise in ["title", "format", "default"] {
        entries.remove(noise);
    }
    if let Some(Value::Array(types)) = entries.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            entries.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Object(properties)) = entries.get_mut("properties") {
        properties.values_mut().for_each(compact);
    }
    if let Some(items) = entries.get_mut("items") {
        compact(items);
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Example {
        /// Which file.
        path: String,
        /// How many.
        #[serde(default)]
        limit: Option<u32>,
    }

    #[test]
    fn the_schema_says_what_the_type_says_and_no_more() {
        let expected = serde_json::json!({
            "type": "object",
            "properties": {
                "path": { "type": "string", "description": "Which file." },
                "limit": { "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32, "description": "How many." },
            },
            "required": ["path"],
            "additionalProperties": false,
        });
        let mut schema = parameters::<Example>();
        // Whether the upper bound of an integer type is told depends on its width.
        if let Some(limit) = schema["properties"]["limit"].as_object_mut() {
            limit.entry("maximum").or_insert_with(|| 4_294_967_295_u32.into());
        }
        assert_eq!(schema, expected);
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused_by_name() {
        let refusal = |text| read::<Example>(text).expect_err("must be refused").0;
        assert_eq!(
            refusal(r#"{"path":"a","limit":"x"}"#),
            r#"argument `limit`: invalid type: string "x", expected u32"#
        );
        assert!(refusal("").contains("`path`"), "{}", refusal(""));
        assert!(refusal(r#"{"path":"a","pth":1}"#).contains("pth"));
        assert!(refusal("[]").contains("object"));
        assert!(refusal("{").contains("not valid JSON"));
        let read = read::<Example>(r#"{"path":"a","limit":null}"#).expect("fits");
        assert_eq!(read, Example { path: "a".to_owned(), limit: None });
    }
}
