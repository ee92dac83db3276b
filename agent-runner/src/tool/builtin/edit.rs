//! The tool that replaces a piece of a file.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::files::{Settings, text};
use crate::{
    tool::{Error, RunFacts, blocking, function::Function},
    workspace::Workspace,
};

/// Edits files of a workspace.
pub(super) struct Edit {
    workspace: Arc<Workspace>,
    settings: Settings,
}

/// What `edit` is called with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The file, relative to the workspace.
    path: String,
    /// The text to replace, exactly as it stands in the file, with enough around it to stand there only once.
    old_text: String,
    /// What to put in its place.
    new_text: String,
    /// Replace it wherever it stands.
    #[serde(default)]
    replace_all: bool,
}

impl Edit {
    pub(super) fn new(workspace: Arc<Workspace>, settings: Settings) -> Self {
        Self { workspace, settings }
    }
}

impl Function for Edit {
    const NAME: &'static str = "edit";
    const DESCRIPTION: &'static str = "Replace a piece of text in a file of the workspace. The text must stand there \
                                       exactly once, unless replace_all is true.";
    const IS_EXCLUSIVE: bool = true;
    type Arguments = Arguments;

    async fn run(&self, arguments: Arguments, _: &RunFacts) -> Result<String, Error> {
        let (workspace, settings) = (self.workspace.clone(), self.settings);
        blocking(move |caller| {
            let Arguments { path, .. } = &arguments;
            let mut change = workspace.change()?;
            caller.check()?;
            let before = text(path, workspace.read(path, settings.max_file_bytes)?)?;
            let (after, count) = replace(&arguments, &before, settings)?;
            change.write(path, after.as_bytes(), None)?;
            caller.check()?;
            change.commit()?;
            let places = if count == 1 { "1 place".to_owned() } else { format!("{count} places") };
            Ok(format!("changed {places} in `{path}`"))
        })
        .await
    }
}

/// The text afterwards, and in how many places it has changed.
fn replace(arguments: &Arguments, before: &str, settings: Settings) -> Result<(String, usize), Error> {
    let Arguments { path, old_text, new_text, replace_all } = arguments;
    if old_text.is_empty() {
        return Err(Error("argument `old_text` is empty; use `write` to make a file".to_owned()));
    }
    // Models write lines that end with LF, whatever the file has.
    let has_crlf = before.contains("\r\n") && before.matches('\n').count() == before.matches("\r\n").count();
    let with_endings = |text: &str| {
        if has_crlf { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text.to_owned() }
    };
    let (old, new) = (with_endings(old_text), with_endings(new_text));
    if old == new {
        return Err(Error("arguments `old_text` and `new_text` are the same".to_owned()));
    }
    let count = before.matches(&old).count();
    if count == 0 {
        return Err(Error(format!("`old_text` is not in `{path}`; read the file and take it from there")));
    }
    if count > 1 && !replace_all {
        return Err(Error(format!(
            "`old_text` stands {count} times in `{path}`; take in more of what is around it, or set `replace_all`"
        )));
    }
    // Known before anything is built: many short matches can make a huge file.
    let unchanged = before.len() - count * old.len();
    settings.check_size(path, unchanged as u128 + count as u128 * new.len() as u128)?;
    Ok((before.replace(&old, &new), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { max_read_bytes: 0, max_read_lines: 0, max_file_bytes: 1000 };

    fn arguments(old_text: &str, new_text: &str, replace_all: bool) -> Arguments {
        let (old_text, new_text) = (old_text.to_owned(), new_text.to_owned());
        Arguments { path: "a".to_owned(), old_text, new_text, replace_all }
    }

    #[test]
    fn a_piece_that_stands_once_is_replaced_and_the_line_endings_stay() {
        let check = |before: &str, arguments: &Arguments, expected: &str| {
            let (after, _) = replace(arguments, before, SETTINGS).expect("can be replaced");
            assert_eq!(after, expected);
        };
        check("a b c", &arguments("b", "x", false), "a x c");
        check("a a", &arguments("a", "b", true), "b b");
        check("a\r\nb\r\nc\r\n", &arguments("a\nb\n", "x\ny\n", false), "x\r\ny\r\nc\r\n");
        check("a\r\nb\nc", &arguments("b\nc", "x\ny", false), "a\r\nx\ny");
        check("\u{feff}a", &arguments("a", "b", false), "\u{feff}b");
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_with_the_number_of_matches() {
        let refusal =
            |before: &str, arguments: &Arguments| replace(arguments, before, SETTINGS).expect_err("must be refused").0;
        assert!(refusal("a a", &arguments("a", "b", false)).contains("stands 2 times"));
        assert!(refusal("a", &arguments("x", "b", false)).contains("is not in"));
        assert!(refusal("a", &arguments("", "b", false)).contains("`old_text` is empty"));
        assert!(refusal("a", &arguments("a", "a", false)).contains("the same"));
        let error = refusal("aaa", &arguments("a", &"x".repeat(500), true));
        assert!(error.contains("tools.fs.maxFileBytes"), "{error}");
    }
}
