//! Files as they were at the last look: one that looks the same is not read again, and what is wrong is said once.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::fs::{Dir, File, Metadata, MetadataExt, OpenOptions};

/// What was made of each file.
#[derive(Debug)]
pub(super) struct Kept<T> {
    workspace: PathBuf,
    files: BTreeMap<PathBuf, Entry<T>>,
}

/// A file to be read.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) size: u64,
}

/// What is in a file.
pub(super) enum Content<T> {
    /// Nothing for a prompt.
    Nothing,
    /// Nothing that a prompt could use, for this reason.
    Unusable(&'static str),
    /// This.
    Of(T),
}

#[derive(Debug)]
struct Entry<T> {
    /// `None` when it could not be read, and is to be tried again.
    stamp: Option<Stamp>,
    trouble: Option<String>,
    value: Option<Arc<T>>,
}

/// What a change of a file changes, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl<T> Kept<T> {
    pub(super) fn new(workspace: &Path) -> Self {
        Self { workspace: workspace.to_owned(), files: BTreeMap::new() }
    }

    pub(super) fn forget_all_but(&mut self, paths: &[PathBuf]) {
        self.files.retain(|path, _| paths.contains(path));
    }

    /// What is in the file at `path`, which `read` is asked only if the file is another than at the last look.
    pub(super) fn look(
        &mut self,
        folder: &Dir,
        path: &Path,
        read: impl FnOnce(Opened) -> io::Result<Content<T>>,
    ) -> Option<Arc<T>> {
        let last = self.files.remove(path);
        let entry = match changed(folder, path, last.as_ref().and_then(|last| last.stamp)) {
            Ok(None) => {
                let last = last?;
                let value = last.value.clone();
                self.files.insert(path.to_owned(), last);
                return value;
            }
            Ok(Some((opened, stamp))) => match read(opened) {
                Ok(Content::Of(value)) => Entry { stamp: Some(stamp), trouble: None, value: Some(Arc::new(value)) },
                Ok(Content::Nothing) => Entry { stamp: Some(stamp), trouble: None, value: None },
                Ok(Content::Unusable(why)) => Entry { stamp: Some(stamp), trouble: Some(why.to_owned()), value: None },
                Err(error) => Entry::unreadable(&error),
            },
            Err(error) if is_absence(&error) => return None,
            Err(error) => Entry::unreadable(&error),
        };
        let told = last.and_then(|last| last.trouble);
        if let Some(error) = entry.trouble.as_ref().filter(|trouble| told.as_ref() != Some(trouble)) {
            let file = self.workspace.join(path);
            tracing::warn!(file = %file.display(), error, "a file of a workspace is left out of prompts");
        }
        let value = entry.value.clone();
        self.files.insert(path.to_owned(), entry);
        value
    }
}

impl<T> Entry<T> {
    fn unreadable(error: &io::Error) -> Self {
        Self { stamp: None, trouble: Some(error.to_string()), value: None }
    }
}

/// Opens the file if it is another than the one with this stamp.
fn changed(folder: &Dir, path: &Path, last: Option<Stamp>) -> io::Result<Option<(Opened, Stamp)>> {
    if last == Some(Stamp::of(&folder.metadata(path)?)?) {
        return Ok(None);
    }
    // What has become a pipe meanwhile must not make this wait for a writer.
    let file = folder.open_with(path, OpenOptions::new().read(true).nonblock(true))?;
    let stamp = Stamp::of(&file.metadata()?)?;
    Ok(Some((Opened { file, size: stamp.size }, stamp)))
}

/// A file that stands among the folders of skills holds no skill, and that is as it should be.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
