//! A thread that owns something which blocks, and the bounded queue to it.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// How many jobs may have room; one more waits for it.
const CAPACITY: usize = 1024;

/// The thread. When this is dropped, the thread does what was sent to it, and ends; the drop waits for that.
pub(super) struct Worker<J> {
    queue: Queue<J>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The way to the thread.
pub(super) struct Queue<J> {
    sender: SyncSender<Message<J>>,
    room: Arc<Semaphore>,
}

/// The thread's end of the queue.
pub(super) struct Jobs<J> {
    receiver: Receiver<Message<J>>,
    stopping: Cell<bool>,
}

enum Message<J> {
    Job(J),
    Stop,
}

impl<J: Send + 'static> Worker<J> {
    /// Starts the thread; `run` takes the jobs until there are no more.
    pub(super) fn spawn(name: &str, run: impl FnOnce(Jobs<J>) + Send + 'static) -> Self {
        // Every job has room, and the end comes once.
        let (sender, receiver) = mpsc::sync_channel(CAPACITY + 1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(Jobs { receiver, stopping: Cell::new(false) }))
            .expect("a process that cannot have two more threads cannot serve");
        let queue = Queue { sender, room: Arc::new(Semaphore::new(CAPACITY)) };
        Self { queue, thread: Mutex::new(Some(thread)) }
    }

    pub(super) fn queue(&self) -> Queue<J> {
        self.queue.clone()
    }

    /// Takes nothing more, and waits until all that was sent is done.
    pub(super) async fn close(&self) {
        if let Some(thread) = self.stop() {
            // A panic of the thread is in the log already.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl<J> Worker<J> {
    fn stop(&self) -> Option<JoinHandle<()>> {
        self.queue.room.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // The thread may have ended already.
        let _ = self.queue.sender.try_send(Message::Stop);
        Some(thread)
    }
}

impl<J> Drop for Worker<J> {
    fn drop(&mut self) {
        if let Some(thread) = self.stop() {
            let _ = thread.join();
        }
    }
}

impl<J> Queue<J> {
    /// Waits for room, which the job must keep until it is done.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.room.clone().acquire_owned().await.map_err(|_| Error::Closed)
    }

    /// Sends a job that has room. It is dropped if the thread has ended.
    pub(super) fn send(&self, job: J) {
        let _ = self.sender.try_send(Message::Job(job));
    }
}

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), room: self.room.clone() }
    }
}

impl<J> Jobs<J> {
    /// Waits for the next job; `None` when the thread is to end and everything sent is done.
    pub(super) fn next(&self) -> Option<J> {
        if self.stopping.get() {
            return self.next_ready();
        }
        self.receiver.recv().ok().and_then(|message| self.job(message))
    }

    /// The next job if it is there already.
    pub(super) fn next_ready(&self) -> Option<J> {
        self.receiver.try_recv().ok().and_then(|message| self.job(message))
    }

    fn job(&self, message: Message<J>) -> Option<J> {
        match message {
            Message::Job(job) => Some(job),
            Message::Stop => {
                self.stopping.set(true);
                self.next_ready()
            }
        }
    }
}
