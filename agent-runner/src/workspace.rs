//! An agent's own folder, which its tools cannot leave: everything in it is opened relative to a handle of the folder,
//! so that neither symbolic links, nor `..`, nor a folder that is exchanged in between lead out of it.

mod change;

use std::{
    fs::DirBuilder,
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, File, OpenOptions, OpenOptionsExt as _, Permissions},
};
use rustix::fs::OFlags;

use crate::tool::Error;

pub(crate) use change::Change;

/// A workspace; made when a tool first needs it.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    dir: Mutex<Option<Arc<Dir>>>,
    changes: Mutex<()>,
}

/// What was found at a path.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file with its length.
    File(File, u64),
    /// A folder.
    Folder(Dir),
}

impl Workspace {
    /// The workspace at an absolute path.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, dir: Mutex::new(None), changes: Mutex::new(()) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The handle of the folder. One that has been removed is made anew, and one that was put in its place is taken.
    pub(crate) fn dir(&self) -> Result<Arc<Dir>, Error> {
        let mut kept = self.dir.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = kept.as_ref().filter(|dir| is_at(dir, &self.path)) {
            return Ok(dir.clone());
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        let opened = made.and_then(|()| Dir::open_ambient_dir(&self.path, ambient_authority()));
        let dir = Arc::new(opened.map_err(|error| Error(format!("cannot open the workspace: {error}")))?);
        *kept = Some(dir.clone());
        Ok(dir)
    }

    /// Begins a change. Until it ends the caller is the only tool that changes files, so that what it reads meanwhile is
    /// what it replaces.
    pub(crate) fn change(&self) -> Result<Change<'_>, Error> {
        Change::new(self, self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a path of the model's as one relative to the folder; no check that it stays inside, which the handle sees
    /// to.
    pub(crate) fn relative(&self, path: &str) -> Result<PathBuf, Error> {
        if path.contains('\0') {
            return Err(Error("a path cannot hold a NUL character".to_owned()));
        }
        let given = Path::new(path);
        let inside =
            if given.is_absolute() { given.strip_prefix(&self.path).map_err(|_| outside(path))? } else { given };
        let plain = plain(inside);
        Ok(if plain.as_os_str().is_empty() { PathBuf::from(".") } else { plain })
    }

    /// Opens what is at a path to read it. Nothing but files and folders is opened, and nothing waits for the other end
    /// of a pipe.
    pub(crate) fn open(&self, path: &str) -> Result<Opened, Error> {
        open(self.dir()?.as_ref(), &self.relative(path)?, path)
    }

    /// Reads a whole file, unless it has more bytes than allowed.
    pub(crate) fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.open_file(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| refusal("read", path, &error))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error(format!("`{path}` is larger than {max_bytes} bytes (`tools.fs.maxFileBytes`)")));
        }
        Ok(bytes)
    }

    /// Opens what is at a path, unless it is a folder.
    pub(crate) fn open_file(&self, path: &str) -> Result<File, Error> {
        match self.open(path)? {
            Opened::Folder(_) => Err(Error(format!("`{path}` is a folder"))),
            Opened::File(file, _) => Ok(file),
        }
    }

    /// Whether there is anything at a path, even a symbolic link that leads nowhere.
    pub(crate) fn exists(&self, path: &str) -> Result<bool, Error> {
        match self.dir()?.symlink_metadata(self.relative(path)?) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(refusal("find", path, &error)),
        }
    }

    /// Who may do what with a file.
    pub(crate) fn permissions(&self, path: &str) -> Result<Option<Permissions>, Error> {
        let metadata = self.open_file(path)?.metadata().map_err(|error| refusal("open", path, &error))?;
        Ok(Some(metadata.permissions()))
    }

    /// Where a file that is to be made will be, without symbolic links.
    pub(crate) fn place_of_new(&self, path: &str) -> Result<PathBuf, Error> {
        let (dir, given) = (self.dir()?, self.relative(path)?);
        for folder in given.ancestors().skip(1) {
            let rest = given.strip_prefix(folder).expect("an ancestor of a path is its beginning");
            match dir.canonicalize(Path::new(".").join(folder)) {
                Ok(folder) => {
                    change::refuse_upward(rest, path)?;
                    return Ok(plain(&folder.join(rest)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(refusal("find the folder of", path, &error)),
            }
        }
        Err(Error(format!("`{path}` does not name a file")))
    }

    /// The path of an existing file or folder without symbolic links; `None` when there is nothing.
    pub(crate) fn resolve(&self, path: &str) -> Result<Option<PathBuf>, Error> {
        match self.dir()?.canonicalize(self.relative(path)?) {
            Ok(resolved) => Ok(Some(plain(&resolved))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refusal("find", path, &error)),
        }
    }
}

/// Opens what is at a path below a folder; `shown` is what the path is called in messages.
pub(crate) fn open(dir: &Dir, path: &Path, shown: &str) -> Result<Opened, Error> {
    let mut options = OpenOptions::new();
    // A pipe that nobody writes to would block, and a terminal could become the runner's.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    options.read(true).custom_flags(flags.cast_signed());
    let file = dir.open_with(path, &options).map_err(|error| refusal("open", shown, &error))?;
    let metadata = file.metadata().map_err(|error| refusal("open", shown, &error))?;
    if metadata.is_dir() {
        return Ok(Opened::Folder(Dir::from_std_file(file.into_std())));
    }
    if !metadata.is_file() {
        return Err(Error(format!("`{shown}` is neither a file nor a folder")));
    }
    Ok(Opened::File(file, metadata.len()))
}

/// A path without `.` in it.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// Why something could not be done to a path, in words.
pub(crate) fn refusal(verb: &str, path: &str, error: &io::Error) -> Error {
    let is_escape = error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    if is_escape { outside(path) } else { Error(format!("cannot {verb} `{path}`: {}", reason(error))) }
}

fn outside(path: &str) -> Error {
    Error(format!("`{path}` leads out of the workspace, which is the limit of this tool"))
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such file or folder".to_owned()
    } else {
        error.to_string()
    }
}

/// Whether a folder is still the one at a path.
fn is_at(dir: &Dir, path: &Path) -> bool {
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let kept = dir.try_clone().and_then(|dir| dir.into_std_file().metadata()).map(identity);
    kept.is_ok_and(|kept| std::fs::metadata(path).map(identity).is_ok_and(|found| found == kept))
}

#[cfg(test)]
mod tests;
