//! What the tools for files have in common: their limits, and text.

use serde::Deserialize;

use crate::tool::Error;

/// How much the tools for files take and give.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The most that one call of `read` gives.
    pub(crate) max_read_bytes: usize,
    /// The same in lines.
    pub(crate) max_read_lines: usize,
    /// The largest file that is written or changed.
    pub(crate) max_file_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_read_bytes: 40_000, max_read_lines: 2000, max_file_bytes: 10 * 1024 * 1024 }
    }
}

impl Settings {
    /// Refuses content that is too large for a file.
    pub(super) fn check_size(&self, path: &str, length: u128) -> Result<(), Error> {
        let limit = self.max_file_bytes;
        if length > u128::from(limit) {
            return Err(Error(format!(
                "`{path}` would have {length} bytes, and {limit} are allowed (`tools.fs.maxFileBytes`)"
            )));
        }
        Ok(())
    }
}

/// Takes the bytes of a file as text.
pub(super) fn text(path: &str, bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error(format!("`{path}` is not UTF-8 text")))
}
