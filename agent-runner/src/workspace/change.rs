//! A change of files that happens to all of them or to none: new content is written beside its place first, so that a
//! reader sees the old or the new, and each step leaves behind how it is undone.

use std::{
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, MutexGuard},
};

use cap_std::fs::{Dir, OpenOptions, Permissions};
use uuid::Uuid;

use super::{Workspace, refusal};
use crate::tool::Error;

/// A change under way, beside which no tool makes another. Dropped without [`Change::commit`], it never was; only a
/// crash amid a commit leaves a part of it.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    workspace: &'a Workspace,
    dir: Arc<Dir>,
    /// What the commit does.
    steps: Vec<Step>,
    /// How to undo what has been done, the last first.
    undo: Vec<Undo>,
    _alone: MutexGuard<'a, ()>,
}

/// One file's new content, or its end.
#[derive(Debug)]
struct Step {
    place: Place,
    shown: String,
    /// The name under which the new content waits, if there is to be any.
    staged: Option<String>,
}

/// Where a file is: its folder, opened, and its name there.
#[derive(Clone, Debug)]
struct Place {
    parent: Arc<Dir>,
    name: PathBuf,
}

#[derive(Debug)]
enum Undo {
    /// Removes a folder that was made.
    Folder(PathBuf),
    /// Removes a file that was made.
    File(Place),
    /// Gives a file that was kept its name back.
    Restore { kept: String, place: Place },
}

impl<'a> Change<'a> {
    pub(super) fn new(workspace: &'a Workspace, alone: MutexGuard<'a, ()>) -> Result<Self, Error> {
        Ok(Self { workspace, dir: workspace.dir()?, steps: Vec::new(), undo: Vec::new(), _alone: alone })
    }

    /// Writes content for a path, whose folders are made. A symbolic link stays one: what it leads to is replaced, if
    /// that is in the workspace. `permissions` are those of a file that this one takes the place of under another name.
    pub(crate) fn write(&mut self, path: &str, content: &[u8], permissions: Option<Permissions>) -> Result<(), Error> {
        let place = self.place(path)?;
        let permissions = match place.parent.symlink_metadata(&place.name) {
            Ok(metadata) if metadata.is_file() => Some(metadata.permissions()),
            Ok(_) => return Err(Error(format!("`{path}` exists and is not a file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => permissions,
            Err(error) => return Err(refusal("write", path, &error)),
        };
        let staged = temporary_name();
        self.undo.push(Undo::File(Place { name: PathBuf::from(&staged), ..place.clone() }));
        place.fill(&staged, content, permissions).map_err(|error| refusal("write", path, &error))?;
        self.steps.push(Step { place, shown: path.to_owned(), staged: Some(staged) });
        Ok(())
    }

    /// Has the file at a path go away, or the link if it is one.
    pub(crate) fn remove(&mut self, path: &str) -> Result<(), Error> {
        let given = self.workspace.relative(path)?;
        let name = given.file_name().ok_or_else(|| Error(format!("`{path}` does not name a file")))?;
        let parent = self.dir.open_dir(folder_of(&given)).map_err(|error| refusal("delete", path, &error))?;
        let place = Place { parent: Arc::new(parent), name: name.into() };
        self.steps.push(Step { place, shown: path.to_owned(), staged: None });
        Ok(())
    }

    /// Makes all of the change, in the order in which it was put together.
    pub(crate) fn commit(mut self) -> Result<(), Error> {
        let steps = std::mem::take(&mut self.steps);
        let last = steps.len().saturating_sub(1);
        for (index, Step { place, shown, staged }) in steps.into_iter().enumerate() {
            let done = match staged {
                // What fails here has changed nothing, and nothing comes after it.
                Some(staged) if index == last => place.put(&staged),
                Some(staged) => self.replace(&place, &staged),
                None => self.set_aside(&place),
            };
            done.map_err(|error| refusal("change", &shown, &error))?;
        }
        for undo in std::mem::take(&mut self.undo) {
            if let Undo::Restore { kept, place } = undo {
                // The change is made; a hidden file that cannot be removed does not unmake it.
                let _ = place.parent.remove_file(kept);
            }
        }
        Ok(())
    }

    /// Puts staged content in its place, and keeps what was there.
    fn replace(&mut self, place: &Place, staged: &str) -> io::Result<()> {
        let kept = temporary_name();
        match place.parent.hard_link(&place.name, &place.parent, &kept) {
            Ok(()) => self.undo.push(Undo::Restore { kept, place: place.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.undo.push(Undo::File(place.clone())),
            // Not everywhere can a file have a second name. A reader may then find none for a moment.
            Err(_) => self.set_aside(place)?,
        }
        place.put(staged)
    }

    /// Takes a file's name away, but keeps the file.
    fn set_aside(&mut self, place: &Place) -> io::Result<()> {
        if place.parent.symlink_metadata(&place.name)?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let kept = temporary_name();
        place.parent.rename(&place.name, &place.parent, &kept)?;
        self.undo.push(Undo::Restore { kept, place: place.clone() });
        Ok(())
    }

    /// The place of a file that is or will be there, whose folders are made.
    fn place(&mut self, path: &str) -> Result<Place, Error> {
        let given = self.workspace.relative(path)?;
        let is_link = self.dir.symlink_metadata(&given).is_ok_and(|metadata| metadata.is_symlink());
        let target = if is_link {
            self.dir.canonicalize(&given).map_err(|error| refusal("follow the symbolic link", path, &error))?
        } else {
            given
        };
        let Some(name) = target.file_name() else {
            return Err(Error(format!("`{path}` does not name a file")));
        };
        let parent = match self.dir.open_dir(folder_of(&target)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(folder_of(&target), path)?,
            opened => opened.map_err(|error| refusal("open the folder of", path, &error))?,
        };
        Ok(Place { parent: Arc::new(parent), name: name.into() })
    }

    /// Makes a folder and those above it.
    fn make(&mut self, folder: &Path, path: &str) -> Result<Dir, Error> {
        refuse_upward(folder, path)?;
        let mut above = PathBuf::new();
        for name in folder {
            above.push(name);
            match self.dir.create_dir(&above) {
                Ok(()) => self.undo.push(Undo::Folder(above.clone())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(refusal("make the folder of", path, &error)),
            }
        }
        self.dir.open_dir(folder).map_err(|error| refusal("open the folder of", path, &error))
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Nothing more can be done about what cannot be undone. A folder in which something else was put by now stays.
        for undo in self.undo.drain(..).rev() {
            let _ = match undo {
                Undo::Folder(path) => self.dir.remove_dir(path),
                Undo::File(Place { parent, name }) => parent.remove_file(name),
                Undo::Restore { kept, place: Place { parent, name } } => parent
                    .rename(&kept, &parent, name)
                    // Two names of one file stay two when the one is given the other's.
                    .and_then(|()| parent.remove_file(kept)),
            };
        }
    }
}

impl Place {
    fn fill(&self, staged: &str, content: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
        let mut file = self.parent.open_with(staged, OpenOptions::new().write(true).create_new(true))?;
        if let Some(permissions) = permissions {
            file.set_permissions(permissions)?;
        }
        file.write_all(content)?;
        // Else a crash could leave the new name with no content.
        file.sync_data()
    }

    fn put(&self, staged: &str) -> io::Result<()> {
        self.parent.rename(staged, &self.parent, &self.name)
    }
}

/// Refuses `..` in what is to be made: where it leads depends on what is there.
pub(super) fn refuse_upward(to_be_made: &Path, path: &str) -> Result<(), Error> {
    if to_be_made.components().any(|component| component == Component::ParentDir) {
        return Err(Error(format!("`{path}` has `..` behind a folder that is not there; give the path without it")));
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that nothing has.
fn temporary_name() -> String {
    format!(".{}.tmp", Uuid::new_v4().simple())
}
