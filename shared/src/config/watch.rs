//! Notices when the configuration file is another than before. It is looked at again and again, which works on every file
//! system and through the symbolic links that Kubernetes swaps.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::{Document, Sources, file};

/// The place of the configuration file, and what was there at the last look.
#[derive(Debug)]
pub struct Watch {
    sources: Sources,
    path: PathBuf,
    named_by: Option<&'static str>,
    is_there: bool,
    last_seen: Option<Stamp>,
    /// The file that was read last, whatever came of it.
    last_read: Option<Stamp>,
}

/// What one look has found.
#[derive(Debug)]
pub enum Look {
    /// Nothing that is new, or nothing that is whole yet.
    Same,
    /// A file that was not read before; what it says may be the same.
    Read(Box<Document>),
    /// A file that cannot be read, or is no configuration.
    Unusable(Error),
    /// The file that was there is gone, or cannot be reached.
    Gone(io::Error),
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
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Watch {
    /// Watches the file of these sources; `is_there` says whether they were read from one.
    pub fn new(sources: Sources, is_there: bool) -> Self {
        let (path, named_by) = file::place(&sources);
        Self { sources, path, named_by, is_there, last_seen: None, last_read: None }
    }

    /// Where the file is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has the file read at the next look, though it may be the one that was read last.
    pub fn read_again(&mut self) {
        self.last_read = None;
    }

    /// Looks at the file, and reads it if it is another than the one that was read last and the same as at the last
    /// look: then nobody is writing it. The first look reads nothing. Blocks the thread for as long as the disk does.
    pub fn look(&mut self) -> Look {
        let stamp = match self.stamp() {
            Ok(stamp) => stamp,
            Err(error) => return self.gone(error),
        };
        self.is_there = true;
        let is_settled = self.last_seen.replace(stamp) == Some(stamp);
        if !is_settled || self.last_read == Some(stamp) {
            return Look::Same;
        }
        let text = fs::read_to_string(&self.path);
        // What was changed while it was read is read again once it has settled.
        if self.stamp().ok() != Some(stamp) {
            return Look::Same;
        }
        self.last_read = Some(stamp);
        let read = match text {
            Ok(text) => Document::from_text(&text, &self.path, &self.sources),
            Err(reason) => Err(Error::Read { path: self.path.clone(), named_by: self.named_by, reason }),
        };
        read.map_or_else(Look::Unusable, |document| Look::Read(Box::new(document)))
    }

    fn stamp(&self) -> io::Result<Stamp> {
        fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata))
    }

    fn gone(&mut self, error: io::Error) -> Look {
        // What comes in its place is read, whatever it looks like.
        (self.last_seen, self.last_read) = (None, None);
        if std::mem::take(&mut self.is_there) { Look::Gone(error) } else { Look::Same }
    }
}

#[cfg(test)]
mod tests;
