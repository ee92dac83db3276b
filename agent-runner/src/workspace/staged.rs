//! A file on its way to its place: written beside it first, so that a reader sees the old content or the new, and a
//! change of several files happens to all of them or to none.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use cap_std::fs::{Dir, OpenOptions, Permissions};
use uuid::Uuid;

use super::{Workspace, refusal};
use crate::tool::Error;

/// New content that has all it needs but its name. Dropped without [`Staged::commit`], it is gone.
#[derive(Debug)]
pub(crate) struct Staged {
    parent: Dir,
    temporary: String,
    name: PathBuf,
    shown: String,
    is_committed: bool,
}

impl Staged {
    /// Writes content for a path, whose folders are made. A symbolic link stays one: what it leads to is replaced, if
    /// that is in the workspace. `permissions` are those of a file that this one takes the place of under another name.
    pub(crate) fn write(
        workspace: &Workspace,
        path: &str,
        content: &[u8],
        permissions: Option<Permissions>,
    ) -> Result<Self, Error> {
        let dir = workspace.dir()?;
        let (parent, name) = place(workspace, &dir, path)?;
        let permissions = match parent.symlink_metadata(&name) {
            Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
            Ok(_) => return Err(Error(format!("`{path}` exists and is not a file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => permissions,
            Err(error) => return Err(refusal("write", path, &error)),
        };
        let temporary = format!(".{}.tmp", Uuid::new_v4().simple());
        let staged = Self { parent, temporary, name, shown: path.to_owned(), is_committed: false };
        staged.fill(content, permissions).map_err(|error| refusal("write", path, &error))?;
        Ok(staged)
    }

    fn fill(&self, content: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
        let mut file = self.parent.open_with(&self.temporary, OpenOptions::new().write(true).create_new(true))?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(content)?;
        // Else a crash could leave the new name with no content.
        file.sync_data()
    }

    /// Puts the content in its place.
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        let renamed = self.parent.rename(&self.temporary, &self.parent, &self.name);
        renamed.map_err(|error| refusal("write", &self.shown, &error))?;
        self.is_committed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_committed {
            // Nothing can be done about a temporary file that cannot be removed.
            let _ = self.parent.remove_file(&self.temporary);
        }
    }
}

/// The folder that a file is or will be in, opened, and the file's name there.
fn place(workspace: &Workspace, dir: &Dir, path: &str) -> Result<(Dir, PathBuf), Error> {
    let given = workspace.relative(path)?;
    let is_link = dir.symlink_metadata(&given).is_ok_and(|metadata| metadata.is_symlink());
    let target = if is_link {
        dir.canonicalize(&given).map_err(|error| refusal("follow the symbolic link", path, &error))?
    } else {
        given
    };
    let Some(name) = target.file_name() else {
        return Err(Error(format!("`{path}` does not name a file")));
    };
    let parent = match target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        None => dir.try_clone(),
        Some(parent) => dir.create_dir_all(parent).and_then(|()| dir.open_dir(parent)),
    };
    let parent = parent.map_err(|error| refusal("open the folder of", path, &error))?;
    Ok((parent, Path::new(name).to_owned()))
}
