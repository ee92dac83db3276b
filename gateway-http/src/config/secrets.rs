//! Secrets that stand in files of their own, and are read again when those change. One that cannot be read any more keeps
//! what it was, and does not hold up the others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Error, Section};
use crate::Settings;

/// The files that the secrets were read from, and what else is needed to make settings of what they hold later.
pub(crate) struct Secrets {
    section: Box<Section>,
    files: Vec<SecretFile>,
    /// What the files held before.
    before: Vec<SecretFile>,
}

#[derive(Clone)]
struct SecretFile {
    key: String,
    path: PathBuf,
    secret: String,
}

/// What came of reading the files again.
pub(crate) struct Reread {
    /// What is other than before.
    pub(crate) settings: Option<Settings>,
    /// The files that cannot be read.
    pub(crate) trouble: Vec<Error>,
}

impl Secrets {
    pub(super) fn new(section: Section, before: Option<&Self>) -> Self {
        let before = before.map(|before| before.files.clone()).unwrap_or_default();
        Self { section: Box::new(section), files: Vec::new(), before }
    }

    /// The secret that stands at `<key>` or in the file that `<key>File` names; empty when there is neither.
    pub(super) fn read(&mut self, key: &str, inline: &str, file: Option<&Path>) -> Result<String, Error> {
        let Some(path) = file else { return Ok(inline.trim().to_owned()) };
        let key_of_file = format!("{key}File");
        if !inline.trim().is_empty() {
            return Err(Error::value(key_of_file, format!("is set beside {key}; leave one of them out")));
        }
        let known = self.before.iter().find(|file| file.path == path);
        let secret = read(&key_of_file, path).or_else(|error| known.map(|known| known.secret.clone()).ok_or(error))?;
        self.files.push(SecretFile { key: key_of_file, path: path.to_owned(), secret: secret.clone() });
        Ok(secret)
    }

    /// Whether a secret stands in a file.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Makes settings of what the files hold now, if that has changed.
    pub(crate) fn read_again(&self) -> Result<Reread, Error> {
        let mut has_changed = false;
        let mut trouble = Vec::new();
        for file in &self.files {
            match read(&file.key, &file.path) {
                Ok(secret) => has_changed |= secret != file.secret,
                Err(error) => trouble.push(error),
            }
        }
        let settings = has_changed.then(|| self.section.settings(Some(self))).transpose()?;
        Ok(Reread { settings, trouble })
    }
}

fn read(key: &str, path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path)
        .map_err(|error| Error::value(key, format!("cannot read {}: {error}", path.display())))?;
    match text.trim() {
        "" => Err(Error::value(key, format!("{} is empty", path.display()))),
        secret => Ok(secret.to_owned()),
    }
}

impl std::fmt::Debug for Secrets {
    /// Leaves out the secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.files.iter().map(|file| &file.key).collect();
        formatter.debug_struct("Secrets").field("files", &keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_changed_file_makes_new_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let write = |text: &str| fs::write(&path, text).expect("written");
        write(" first\n");
        let section = json!({"auth": {"tokens": [{"name": "alice", "tokenFile": path}], "token": "t"}});
        let section: Section = serde_json::from_value(section).expect("a valid section");
        let settings = section.settings(None).expect("valid");
        let knows =
            |settings: &Settings, secret: &str| settings.auth.caller_with(Some(&format!("Bearer {secret}"))).is_some();
        assert!(knows(&settings, "first") && knows(&settings, "t"));

        let again = |settings: &Settings| settings.secrets.read_again().expect("usable");
        assert!(again(&settings).settings.is_none());
        write("second");
        let changed = again(&settings).settings.expect("changed");
        assert!(!knows(&changed, "first") && knows(&changed, "second") && knows(&changed, "t"));
        assert!(again(&changed).settings.is_none());

        let trouble = |settings: &Settings| again(settings).trouble[0].to_string();
        write(" \n");
        assert!(trouble(&changed).starts_with("gateway.auth.tokens[0].tokenFile: "), "{}", trouble(&changed));
        assert!(trouble(&changed).ends_with(" is empty"));
        write("t");
        let error = changed.secrets.read_again().err().expect("two are the same").to_string();
        assert_eq!(error, "gateway.auth.tokens[0].token: is the same as the main secret");
        fs::remove_file(&path).expect("removed");
        assert!(trouble(&changed).contains("tokenFile: cannot read "));
    }

    #[test]
    fn a_file_that_cannot_be_read_keeps_its_secret_and_holds_up_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["alice", "bob"].map(|name| folder.path().join(name));
        let write = |index: usize, text: &str| fs::write(&paths[index], text).expect("written");
        write(0, "alice-1");
        write(1, "bob-1");
        let tokens = json!([{"name": "alice", "tokenFile": paths[0]}, {"name": "bob", "tokenFile": paths[1]}]);
        let section: Section = serde_json::from_value(json!({"auth": {"tokens": tokens}})).expect("a valid section");
        let settings = section.settings(None).expect("valid");
        write(0, "");
        write(1, "bob-2");
        let Reread { settings: changed, trouble } = settings.secrets.read_again().expect("usable");
        let changed = changed.expect("bob's has changed");
        assert_eq!(trouble.len(), 1);
        let knows = |secret: &str| changed.auth.caller_with(Some(&format!("Bearer {secret}"))).is_some();
        assert!(knows("alice-1") && knows("bob-2") && !knows("bob-1"));
        assert!(section.settings(None).is_err(), "at the start it is an error");
    }
}
