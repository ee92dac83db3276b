//! Secrets that stand in files of their own, and are read again when those change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Error, Section};
use crate::Settings;

/// The files that the secrets were read from, and what else is needed to make settings of what they hold later.
pub(crate) struct Secrets {
    section: Box<Section>,
    files: Vec<SecretFile>,
}

struct SecretFile {
    key: String,
    path: PathBuf,
    hash: [u8; 32],
}

impl Secrets {
    pub(super) fn new(section: Section) -> Self {
        Self { section: Box::new(section), files: Vec::new() }
    }

    /// The secret that stands at `<key>` or in the file that `<key>File` names; empty when there is neither.
    pub(super) fn read(&mut self, key: &str, inline: &str, file: Option<&Path>) -> Result<String, Error> {
        let Some(path) = file else { return Ok(inline.trim().to_owned()) };
        let key_of_file = format!("{key}File");
        if !inline.trim().is_empty() {
            return Err(Error::value(key_of_file, format!("is set beside {key}; leave one of them out")));
        }
        let secret = read(&key_of_file, path)?;
        self.files.push(SecretFile { key: key_of_file, path: path.to_owned(), hash: hash(&secret) });
        Ok(secret)
    }

    /// Whether a secret stands in a file.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Makes settings of what the files hold now, if that has changed.
    pub(crate) fn read_again(&self) -> Result<Option<Settings>, Error> {
        let mut has_changed = false;
        for file in &self.files {
            has_changed |= hash(&read(&file.key, &file.path)?) != file.hash;
        }
        has_changed.then(|| self.section.settings()).transpose()
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

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl std::fmt::Debug for Secrets {
    /// Leaves out the hashes.
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
        let settings = section.settings().expect("valid");
        let knows =
            |settings: &Settings, secret: &str| settings.auth.caller_with(Some(&format!("Bearer {secret}"))).is_some();
        assert!(knows(&settings, "first") && knows(&settings, "t"));

        assert!(settings.secrets.read_again().expect("readable").is_none());
        write("second");
        let changed = settings.secrets.read_again().expect("readable").expect("changed");
        assert!(!knows(&changed, "first") && knows(&changed, "second") && knows(&changed, "t"));
        assert!(changed.secrets.read_again().expect("readable").is_none());

        let trouble = |settings: &Settings| settings.secrets.read_again().expect_err("no secret").to_string();
        write(" \n");
        assert!(trouble(&changed).starts_with("gateway.auth.tokens[0].tokenFile: "), "{}", trouble(&changed));
        assert!(trouble(&changed).ends_with(" is empty"));
        write("t");
        assert_eq!(trouble(&changed), "gateway.auth.tokens[0].token: is the same as the main secret");
        fs::remove_file(&path).expect("removed");
        assert!(trouble(&changed).contains("tokenFile: cannot read "));
    }
}
