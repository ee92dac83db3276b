//! Settings: flag over environment over file over default, read once from values that `main` gives.

mod change;
mod environment;
mod error;
mod file;
mod keys;
mod overrides;
mod parse;
mod path;
mod secrets;
mod section;
mod settings;
mod substitute;
#[cfg(test)]
mod tests;
mod upstream;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use change::Change;
pub use environment::Environment;
pub use error::{Error, Origin};
pub use settings::{Kind, SETTINGS, Setting, documented_default};
pub use watch::{Look, Watch};

use path::KeyPath;
use substitute::Substitutions;

/// Where settings come from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The process environment.
    pub environment: Environment,
    /// The file that `--config` names.
    pub config_path: Option<PathBuf>,
    /// Values from the command line by the keys of [`SETTINGS`].
    pub flags: Vec<(&'static str, String)>,
    /// Values for what may turn out to be missing.
    pub fallbacks: Vec<Fallback>,
}

/// A value for a setting that may turn out to be missing.
#[derive(Clone)]
pub struct Fallback {
    /// The setting's key.
    pub key: &'static str,
    /// Its value then.
    pub value: String,
    /// Whether it is missing from what the other sources say.
    pub is_needed: fn(&Document) -> bool,
}

impl Sources {
    /// Sources with the flags that were given on the command line.
    pub fn new(
        environment: Environment,
        config_path: Option<PathBuf>,
        flags: impl IntoIterator<Item = (&'static str, Option<String>)>,
    ) -> Self {
        let flags = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Self { environment, config_path, flags, fallbacks: Vec::new() }
    }
}

/// The settings of all sources, as one tree.
///
/// Each crate reads its own part with [`Document::section`] into a type of its own, whose
/// `Default` holds the defaults.
#[derive(Clone)]
pub struct Document {
    root: Value,
    path: Option<PathBuf>,
    state_dir: PathBuf,
    home: PathBuf,
    /// Where values come from that are not in the file as they are.
    origins: BTreeMap<KeyPath, Origin>,
    /// Values of the file that refer to a variable which is unset or empty, with its name.
    missing: BTreeMap<KeyPath, String>,
    warnings: Vec<String>,
}

impl Document {
    /// Reads all sources.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        match file::read(sources)? {
            Some(file) => Self::from_text(&file.text, &file.path, sources),
            None => Self::empty(sources).with_overrides(sources),
        }
    }

    /// Reads all sources, with the given text as that of the file at `path`.
    pub fn from_text(text: &str, path: &Path, sources: &Sources) -> Result<Self, Error> {
        let mut root = parse::parse(text, path)?;
        let mut warnings = keys::check(&root, path)?;
        let mut substitutions = Substitutions::default();
        substitutions.apply(&KeyPath::default(), &mut root, &sources.environment);
        if !substitutions.not_names.is_empty() {
            let keys = substitutions.not_names.join(", ");
            let file = path.display();
            warnings.push(format!("{file}: not a reference to a variable, kept as it is: ${{ in {keys}"));
        }
        let origin = |variables| Origin::Reference { path: path.to_owned(), variables };
        let references = substitutions.references.into_iter();
        let document = Self {
            root,
            path: Some(path.to_owned()),
            origins: references.map(|(key, variables)| (key, origin(variables))).collect(),
            missing: substitutions.missing,
            warnings,
            ..Self::empty(sources)
        };
        document.with_overrides(sources)
    }

    /// Returns the part of the settings at a key such as `services.sessionStore`.
    ///
    /// A part that nothing sets is read from an empty object. A `${NAME}` without a value is an
    /// error here rather than in [`Document::load`], so that a process needs no secrets but those
    /// of the sections it reads.
    pub fn section<T: DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        let section = KeyPath::of_names(key);
        if let Some((path, variable)) = self.missing.iter().find(|(path, _)| path.overlaps(&section)) {
            return Err(Error::MissingVariable {
                key: path.to_string(),
                variable: variable.clone(),
                origin: self.origin(path),
            });
        }
        let empty = Value::Object(Map::new());
        let value = section.find(&self.root).unwrap_or(&empty);
        section::read(value).map_err(|misfit| self.refusal(&misfit, section))
    }

    /// Returns what should be told to the operator, one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the file that was read.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns where a path of the settings leads: one that begins with `~/` into the home folder, another that is not
    /// absolute beside the configuration file.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        if let Ok(rest) = path.strip_prefix("~") {
            return self.home.join(rest);
        }
        let folder = self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        folder.join(path)
    }

    /// Returns the folder for everything that outlives the process.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    fn empty(sources: &Sources) -> Self {
        Self {
            root: Value::Object(Map::new()),
            path: None,
            state_dir: file::state_dir(&sources.environment),
            home: sources.environment.home().to_owned(),
            origins: BTreeMap::new(),
            missing: BTreeMap::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns where the value at `path`, or the value that holds it, comes from.
    fn origin(&self, path: &KeyPath) -> Origin {
        let mut origins = self.origins.iter();
        if let Some((_, origin)) = origins.find(|(key, _)| path.is_within(key)) {
            return origin.clone();
        }
        if let Some(file) = &self.path {
            return Origin::File(file.clone());
        }
        let mut origins = self.origins.iter();
        let below = origins.find(|(key, _)| key.is_within(path));
        below.map_or(Origin::Default, |(_, origin)| origin.clone())
    }
}

/// Shows no values: some are secrets.
impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Document")
            .field("path", &self.path)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// Shows the keys of flags and fallbacks without their values: some are secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<_> = self.flags.iter().map(|(key, _)| key).collect();
        let fallbacks: Vec<_> = self.fallbacks.iter().map(|fallback| fallback.key).collect();
        formatter
            .debug_struct("Sources")
            .field("environment", &self.environment)
            .field("config_path", &self.config_path)
            .field("flags", &flags)
            .field("fallbacks", &fallbacks)
            .finish()
    }
}

fn value_error(key: impl Into<String>, reason: impl Into<String>, origin: Origin) -> Error {
    Error::Value { key: key.into(), reason: reason.into(), origin }
}

/// Returns the type of a value with its article, for messages.
fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
