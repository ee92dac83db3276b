//! A server's process: a group of its own, which never outlives its owner.

use std::{io, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long a process has to end by itself once its input is closed and it is told to terminate.
const GRACE: Duration = Duration::from_secs(2);
/// How much of a line of a server's standard error goes to the log.
const MAX_LOG_LINE_BYTES: u64 = 2048;

/// A running process. Dropping it kills its whole group.
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    _ended: DropGuard,
}

impl Process {
    /// Starts the process, with pipes to it. What it says on standard error goes to the log.
    pub(super) fn start(
        mut command: Command,
        server: &str,
        tasks: &TaskTracker,
    ) -> io::Result<(Self, ChildStdout, ChildStdin)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let ended = CancellationToken::new();
        tasks.spawn(log_until(ended.clone(), stderr, server.to_owned()));
        Ok((Self { child, group, _ended: ended.drop_guard() }, stdout, stdin))
    }

    /// Ends the process, kindly at first, and the rest of its group.
    pub(super) async fn end(mut self) {
        self.signal(Signal::SIGTERM);
        // The rest of the group is killed in any case, so that it does not matter how the first process ended.
        let _ = time::timeout(GRACE, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        // It fails when the whole group is gone, which is as well.
        let _ = self.group.map(|group| killpg(group, signal));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Logs what a process says, its last words too. Others may have its pipe and keep it open, but are not waited for.
async fn log_until(ended: CancellationToken, stderr: ChildStderr, server: String) {
    let late = async {
        ended.cancelled().await;
        time::sleep(GRACE).await;
    };
    tokio::select! {
        () = log_lines(stderr, server) => {}
        () = late => {}
    }
}

/// Ends with the last process that has the pipe.
async fn log_lines(stderr: ChildStderr, server: String) {
    let mut stderr = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer than a line may be is logged in pieces.
        match (&mut stderr).take(MAX_LOG_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::debug!(mcp.server = server, "MCP server `{server}` says: {}", text.trim_end().escape_debug());
            }
        }
    }
}
