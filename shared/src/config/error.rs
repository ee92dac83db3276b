//! What can be wrong with a configuration, in words that say where to look.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration was refused.
///
/// Each message is complete by itself: it names the key, the reason and where the value came from.
/// None of them quotes a secret, or a value that was taken from the environment by `${NAME}`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or one that was named does not exist.
    #[error("{}{}: {reason}", path.display(), named(*named_by))]
    Read {
        /// The file.
        path: PathBuf,
        /// The flag or environment variable that names it; nothing for the default place.
        named_by: Option<&'static str>,
        /// What the operating system says, or that it is not UTF-8.
        reason: io::Error,
    },

    /// The file is not JSON5, sets a key twice, or has an `$include`.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },

    /// A key that is almost one of ours.
    #[error("{key}: unknown key; did you mean {suggestion}? ({origin})")]
    UnknownKey {
        /// The path of the key as written.
        key: String,
        /// The path of the key that was probably meant.
        suggestion: String,
        /// The file.
        origin: Origin,
    },

    /// A `${NAME}` in the file names a variable that is unset or empty.
    #[error("{key}: the environment variable {variable} is not set or empty ({origin})")]
    MissingVariable {
        /// The path of the key whose value refers to the variable.
        key: String,
        /// The name of the variable.
        variable: String,
        /// The file.
        origin: Origin,
    },

    /// A value does not have the type or the form that its key needs.
    #[error("{key}: {reason} ({origin})")]
    Value {
        /// The path of the key.
        key: String,
        /// What was expected and what was found.
        reason: String,
        /// Where the value came from.
        origin: Origin,
    },
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// A string of the configuration file that refers to environment variables.
    Reference {
        /// The file.
        path: PathBuf,
        /// The names in the string, in order.
        variables: Vec<String>,
    },
    /// The environment variable of a setting.
    Environment(&'static str),
    /// A command-line flag.
    Flag,
    /// Neither file, environment nor command line: the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "in {}", path.display()),
            Self::Reference { path, variables } => {
                let separator = "}, ${";
                let names = variables.join(separator);
                write!(formatter, "from ${{{names}}} in {}", path.display())
            }
            Self::Environment(name) => write!(formatter, "from the environment variable {name}"),
            Self::Flag => write!(formatter, "from the command line"),
            Self::Default => write!(formatter, "by default"),
        }
    }
}

fn named(named_by: Option<&'static str>) -> String {
    named_by.map_or_else(String::new, |name| format!(", named by {name}"))
}
