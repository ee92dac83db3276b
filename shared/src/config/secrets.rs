//! What an error about a value must not quote.

use serde_json::Value;

use super::Document;
use super::error::Origin;
use super::path::{KeyPath, children};
use super::settings;

impl Document {
    /// Whether `message`, which is about the value at `path`, could show a secret or a value that
    /// was taken from the environment by `${NAME}`.
    pub(super) fn could_reveal(&self, path: &KeyPath, message: &str) -> bool {
        let everything = (KeyPath::default(), &self.root);
        let (place, value) = match path.find(&self.root) {
            Some(value) => (path.clone(), value),
            // Serde's path ends at a name that only the type knows.
            None => everything,
        };
        self.is_confidential(path) || self.quotes_confidential(&place, value, message)
    }

    fn quotes_confidential(&self, path: &KeyPath, value: &Value, message: &str) -> bool {
        children(value).any(|(segment, child)| {
            let path = path.child(segment);
            let quoted = self.is_confidential(&path) && quotes(message, child);
            quoted || self.quotes_confidential(&path, child, message)
        })
    }

    fn is_confidential(&self, path: &KeyPath) -> bool {
        let mut origins = self.origins.iter();
        settings::is_secret(path)
            || origins.any(|(key, origin)| matches!(origin, Origin::Reference { .. }) && path.is_within(key))
    }
}

fn quotes(message: &str, value: &Value) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    !text.is_empty() && (message.contains(&text) || message.contains(&text.escape_debug().to_string()))
}
