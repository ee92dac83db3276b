//! What beats the file: environment variables, and flags over those; and what holds where none of them says anything.

use serde_json::{Map, Value};

use super::error::{Error, Origin};
use super::path::KeyPath;
use super::settings::{SETTINGS, Setting};
use super::{Document, Fallback, Sources, value_error, value_kind};

impl Document {
    /// Sets what the environment and the command line set.
    pub(super) fn with_overrides(mut self, sources: &Sources) -> Result<Self, Error> {
        for setting in SETTINGS {
            if let Some(name) = setting.environment
                && let Some(text) = sources.environment.get(name)
            {
                self.set(setting, text, Origin::Environment(name))?;
            }
        }
        for (key, text) in &sources.flags {
            self.set(named(key, &Origin::Flag)?, text, Origin::Flag)?;
        }
        for Fallback { key, value, is_needed } in &sources.fallbacks {
            let setting = named(key, &Origin::Default)?;
            if is_needed(&self) {
                self.set(setting, value, Origin::Default)?;
            }
        }
        Ok(self)
    }

    fn set(&mut self, setting: &Setting, text: &str, origin: Origin) -> Result<(), Error> {
        let Some(value) = setting.kind.read(text) else {
            let reason = format!("expected {}, found {text:?}", setting.kind.name());
            return Err(value_error(setting.key, reason, origin));
        };
        let mut place = &mut self.root;
        for name in setting.key.split('.') {
            // Neither is null: the file's objects were checked, and the rest is made here.
            let Value::Object(entries) = place else {
                let reason = format!("cannot be set below {}", value_kind(place));
                return Err(value_error(setting.key, reason, origin));
            };
            place = entries.entry(name).or_insert_with(|| Map::new().into());
        }
        *place = value;
        let path = KeyPath::of_names(setting.key);
        self.missing.retain(|key, _| !key.is_within(&path));
        self.origins.retain(|key, _| !key.is_within(&path));
        self.origins.insert(path, origin);
        Ok(())
    }
}

fn named(key: &'static str, origin: &Origin) -> Result<&'static Setting, Error> {
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    setting.ok_or_else(|| value_error(key, "not a setting", origin.clone()))
}
