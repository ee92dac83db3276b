//! A child process, its log, and the signals that it gets.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use nix::{sys::signal, unistd::Pid};
use tokio::process::{Child, Command};

use super::soon;

pub(crate) use signal::Signal;

/// A running binary; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard output and error going to the end of a file in `logs`.
    pub(crate) fn spawn(name: &str, mut command: Command, logs: &Path) -> Self {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Everything that was printed and logged under this name so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The exit status, if the process is gone.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How much memory the process has now.
    pub(crate) fn memory_kib(&self) -> u64 {
        let id = self.child.id().expect("the process has not been waited for");
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        resident.expect("Linux says how much is resident").trim().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().expect("the process has not been waited for");
        signal::kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the process is gone.
    pub(crate) async fn exit(&mut self) -> ExitStatus {
        let what = format!("{} goes", self.name);
        soon(&what, self.child.wait()).await.unwrap()
    }
}
