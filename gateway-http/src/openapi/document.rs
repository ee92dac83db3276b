//! The document, put together from the table's rows.

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    failures::FAILURES,
    operation::{Answer, Operation},
};
use crate::error::ErrorBody;

/// Collects the schemas that the operations refer to.
struct Schemas {
    /// Of what is read.
    requests: SchemaGenerator,
    /// Of what is written.
    responses: SchemaGenerator,
}

pub(super) fn document(operations: &[Operation]) -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.meta_schema = None;
            settings.definitions_path = "/components/schemas".into();
        })
    };
    let mut schemas = Schemas {
        requests: settings().for_deserialize().into_generator(),
        responses: settings().for_serialize().into_generator(),
    };
    let mut paths = Map::new();
    for operation in operations {
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        methods[operation.method] = schemas.operation(operation);
    }
    let error = schemas.responses.subschema_for::<ErrorBody>().to_value();
    let failures: Map<String, Value> =
        FAILURES.iter().map(|failure| (failure.status.to_string(), failure.to_json(&error))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Clawdbot Gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Agents behind OpenAI's API. Fields that are not named here are accepted and have no effect.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "responses": failures,
            "securitySchemes": {"bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "The gateway's token or password, or a named token",
            }},
        },
    })
}

impl Schemas {
    fn operation(&mut self, operation: &Operation) -> Value {
        let mut responses = Map::new();
        for failure in &operation.failures {
            let reference = json!({"$ref": format!("#/components/responses/{failure}")});
            responses.insert(failure.to_string(), reference);
        }
        for answer in &operation.answers {
            responses.insert(answer.status.to_string(), self.answer(operation, answer));
        }
        let parameters: Vec<Value> = operation.parameters.iter().map(|parameter| parameter.to_json()).collect();
        let security = if operation.is_open { json!([]) } else { json!([{"bearer": []}]) };
        let mut json = json!({
            "operationId": operation_id(operation),
            "summary": operation.summary,
            "parameters": parameters,
            "security": security,
            "responses": responses,
        });
        if let Some(body) = operation.body {
            let schema = body(&mut self.requests).to_value();
            json["requestBody"] = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        }
        json
    }

    fn answer(&mut self, operation: &Operation, answer: &Answer) -> Value {
        let mut content = json!({});
        if let Some(schema) = answer.schema {
            content["application/json"] = json!({"schema": schema(&mut self.responses).to_value()});
        }
        if let Some(event) = operation.event.filter(|_| answer.status == 200) {
            // Version 3.1 has no word for the events of a stream; this is what the next one says of each.
            let data = event(&mut self.responses).to_value();
            content["text/event-stream"] = json!({"schema": {
                "description": "An event of the stream",
                "type": "object",
                "properties": {"data": {"anyOf": [
                    {"const": "[DONE]", "description": "The last event"},
                    {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
                ]}},
                "required": ["data"],
            }});
        }
        let named = ["x-request-id"].iter().chain(operation.headers);
        let headers: Map<String, Value> =
            named.map(|&name| (name.to_owned(), json!({"schema": {"type": "string"}}))).collect();
        json!({"description": answer.description, "headers": headers, "content": content})
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut definitions = self.requests.take_definitions(true);
        definitions.extend(self.responses.take_definitions(true));
        definitions
    }
}

/// The method and the path, in letters.
fn operation_id(operation: &Operation) -> String {
    let words = operation.path.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(operation.method.to_owned(), |id, word| format!("{id}_{word}"))
}
