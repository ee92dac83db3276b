//! A process and all that it starts, which end together.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::{
    io::{AsyncReadExt as _, Interest, unix::AsyncFd},
    net::unix::pipe::Receiver,
    process::{Child, Command},
};

use super::output::Output;
use crate::tool::Error;

/// The most that a pipe can hold, for an unprivileged user of Linux.
const MAX_PIPE_BYTES: usize = 1024 * 1024;

/// What came of a process.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it wrote, complete lines.
    pub(super) text: String,
    /// How it ended, in words; `None` if it was stopped for its time.
    pub(super) status: Option<String>,
}

/// Runs a command until it ends or its time is over. Then, or when the future is dropped, everything in its process
/// group ends.
pub(super) async fn run(mut command: Command, timeout: Duration, max_output_bytes: usize) -> Result<Ended, Error> {
    let failed = |error: io::Error| Error(format!("cannot run the program: {error}"));
    // One pipe for both, so that what is written stays in order.
    let (reader, writer) = io::pipe().map_err(failed)?;
    let second = writer.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(second);
    let group = Group::spawn(&mut command).map_err(failed)?;
    // The command holds the writing ends, and with them the pipe would never end.
    drop(command);
    let mut reader = Reader { pipe: receiver(reader.into()).map_err(failed)?, output: Output::new(max_output_bytes) };

    let is_over = tokio::time::timeout(timeout, reader.read_until_exit(&group)).await.is_ok();
    // Before the process is waited for: until then nothing else can have its number.
    group.kill();
    reader.read_rest();
    let status = group.wait().await.map_err(failed)?;
    Ok(Ended { text: reader.output.into_text(), status: is_over.then(|| in_words(status)) })
}

fn receiver(reader: OwnedFd) -> io::Result<Receiver> {
    rustix::io::ioctl_fionbio(&reader, true)?;
    Receiver::from_owned_fd(reader)
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The output on its way.
struct Reader {
    pipe: Receiver,
    output: Output,
}

impl Reader {
    /// Reads until the process itself has ended; something that it has started may still hold the pipe.
    async fn read_until_exit(&mut self, group: &Group) {
        let (mut buffer, mut is_open) = (vec![0; 16 * 1024], true);
        loop {
            tokio::select! {
                biased;
                () = group.exited() => return,
                read = self.pipe.read(&mut buffer), if is_open => match read {
                    Ok(0) | Err(_) => is_open = false,
                    Ok(length) => self.output.push(&buffer[..length]),
                },
            }
        }
    }

    /// Reads what the pipe still holds, and waits for nothing.
    fn read_rest(&mut self) {
        let (mut buffer, mut total) = (vec![0; 16 * 1024], 0);
        while total < MAX_PIPE_BYTES {
            // Not through the runtime, which may not know yet that there is something to read.
            match rustix::io::read(self.pipe.as_fd(), &mut buffer) {
                Ok(length) if length > 0 => {
                    self.output.push(&buffer[..length]);
                    total += length;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// A process that leads a group of its own. Dropped, the whole group is killed; the runtime collects what remains.
struct Group {
    child: Child,
    exit: AsyncFd<OwnedFd>,
}

impl Group {
    fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        match exit(&child) {
            Ok(exit) => Ok(Self { child, exit }),
            Err(error) => {
                kill(&child);
                Err(error)
            }
        }
    }

    /// Waits until the process has ended, but leaves it its number.
    async fn exited(&self) {
        // A handle that cannot be watched counts as ended: the group is killed then, not forgotten.
        let _ = self.exit.readable().await;
    }

    fn kill(&self) {
        kill(&self.child);
    }

    async fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What becomes readable when a process ends.
#[expect(deprecated, reason = "the other constructors are unsafe, for descriptors that can be closed while in use")]
fn exit(child: &Child) -> io::Result<AsyncFd<OwnedFd>> {
    let handle = pidfd_open(pid(child).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::NONBLOCK)?;
    AsyncFd::with_interest(handle, Interest::READABLE)
}

/// The number of a process that has not been waited for.
fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed()))
}

/// Kills a process and its group, unless it has been waited for: its number may be another's then.
fn kill(child: &Child) {
    if let Some(pid) = pid(child) {
        // A group of which nothing is left is as good as killed.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
