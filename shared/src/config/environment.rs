//! The process environment as a value, so that only `main` reads the real one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// A copy of the process environment.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Copies variables, as given by `std::env::vars_os()`.
    ///
    /// Bytes of a value that are not UTF-8 become U+FFFD; a variable whose name is not UTF-8 cannot
    /// be asked for and is left out.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        variables.into_iter().collect()
    }

    /// Returns the value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the path in a variable, with a leading `~/` taken as the home folder.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.get(name)?;
        Some(match value.strip_prefix("~/") {
            Some(rest) => self.home().join(rest),
            None => PathBuf::from(value),
        })
    }

    /// Returns `HOME`, or the working folder when a container sets none.
    pub(super) fn home(&self) -> &Path {
        Path::new(self.get("HOME").unwrap_or(""))
    }
}

impl<Name: Into<OsString>, Value: Into<OsString>> FromIterator<(Name, Value)> for Environment {
    fn from_iter<Variables: IntoIterator<Item = (Name, Value)>>(variables: Variables) -> Self {
        let text = |(name, value): (Name, Value)| {
            let name = name.into().into_string().ok()?;
            Some((name, value.into().to_string_lossy().into_owned()))
        };
        Self(variables.into_iter().filter_map(text).collect())
    }
}

/// Shows the names only: values are often secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}
