//! The embedded model: `SmolLM2-135M-Instruct`, answering in this process with nothing to install or to pay.
//!
//! It chats fluently and knows little. It has no dependable tool calling, so that a request's tools are ignored, and a
//! tool's result reaches it as something that the user says. It takes text only.
//!
//! One thread writes one answer. As many answers as there are cores are written at a time, on threads that do nothing
//! else; more wait in a bounded line. The threads are the model's own: nothing of it runs on the runtime's workers.

mod deltas;
mod generation;
mod instructions;
mod llama;
mod prompt;
mod queue;
mod sampler;
mod vocabulary;
pub mod weights;

use std::{
    fs::File,
    io::{self, BufReader},
    num::NonZero,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use candle_core::quantized::gguf_file::Content;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_stream::wrappers::ReceiverStream;

use self::{
    generation::{Engine, Job, shut_down},
    instructions::Instructions,
    llama::Llama,
    queue::{Queue, Refused},
    vocabulary::Vocabulary,
};
use crate::model::{Error, EventStream, Model, Request};

/// The most tokens of a prompt and its answer together.
pub const CONTEXT_TOKENS: usize = 2_048;

/// The most tokens of an answer whose request does not say.
pub const DEFAULT_ANSWER_TOKENS: usize = 512;

/// How many answers wait for a thread, beside those that are being written.
pub const DEFAULT_QUEUE_LIMIT: usize = 16;

/// Tokens of the context that a long conversation leaves to the answer.
const ANSWER_ROOM_TOKENS: usize = 256;

/// The embedded model. Dropping it ends its answers and waits for its threads, which takes less than a token.
pub struct LocalModel {
    engine: Arc<Engine>,
    threads: Vec<JoinHandle<()>>,
}

/// Why the embedded model cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be opened.
    #[error("the model file {} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is corrupt, cut off, or something else.
    #[error("{} is not a GGUF file of a SmolLM model: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no thread.
    #[error("a thread for the embedded model cannot be started")]
    Thread(#[source] io::Error),
}

impl LocalModel {
    /// Loads a model from a GGUF file with [`DEFAULT_QUEUE_LIMIT`]. Blocks for about a second.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::load_with_queue_limit(path, DEFAULT_QUEUE_LIMIT)
    }

    /// Loads a model from a GGUF file; `queue_limit` answers wait for a thread, further ones get
    /// [`Error::Overloaded`]. Blocks for about a second.
    pub fn load_with_queue_limit(path: &Path, queue_limit: usize) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(|source| LoadError::Open { path: path.to_owned(), source })?;
        let invalid = |reason: String| LoadError::Invalid { path: path.to_owned(), reason };
        // The reader checks most of what a file may claim, but not all: a corrupt one must not take the process down.
        let (llama, vocabulary) = catch_unwind(move || read(file))
            .map_err(|_| invalid("its reader broke down".to_owned()))?
            .map_err(|error| invalid(error.to_string()))?;

        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let queue = Queue::new(queue_limit, threads);
        let engine = Arc::new(Engine { llama, vocabulary, instructions: Instructions::default(), queue });
        let mut model = Self { engine, threads: Vec::new() };
        for index in 0..threads {
            let engine = Arc::clone(&model.engine);
            let thread = thread::Builder::new().name(format!("local-model-{index}")).spawn(move || engine.work());
            model.threads.push(thread.map_err(LoadError::Thread)?);
        }
        Ok(model)
    }

    /// The model's tokens for a text, none of them a control token.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.engine.vocabulary.encode(text)
    }
}

fn read(file: File) -> candle_core::Result<(Llama, Vocabulary)> {
    let mut file = BufReader::new(file);
    let content = Content::read(&mut file)?;
    Ok((Llama::load(&content, &mut file, CONTEXT_TOKENS)?, Vocabulary::load(&content)?))
}

impl Model for LocalModel {
    /// Honours `max_tokens`, `temperature`, `top_p`, `seed` and `stop`, and ignores other options, tools, and the
    /// model's name.
    fn stream(&self, request: &Request) -> EventStream {
        let engine = Arc::clone(&self.engine);
        let (job, answer) = Job::new(request.clone());
        let answer = async move {
            match engine.queue.push(job) {
                Ok(()) => Ok(ReceiverStream::new(answer)),
                Err(Refused::Full) => Err(Error::Overloaded),
                Err(Refused::Closed) => Err(shut_down()),
            }
        };
        stream::once(answer).try_flatten().boxed()
    }
}

impl Drop for LocalModel {
    fn drop(&mut self) {
        for job in self.engine.queue.close() {
            job.fail(shut_down());
        }
        for thread in self.threads.drain(..) {
            // A thread catches its panics, so that there is nothing to learn from it.
            let _ = thread.join();
        }
    }
}
