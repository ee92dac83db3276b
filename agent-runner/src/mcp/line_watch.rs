//! Tells when a server's message is too long, which its transport throws away without a word.

use std::{
    future,
    io::Result,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::watch,
};

/// Hands on what it reads, and counts how long its lines are.
pub(super) struct LineWatch<R> {
    inner: R,
    line_bytes: usize,
    longest: usize,
    too_long: watch::Sender<()>,
}

/// Those who want to know of lines that are too long.
#[derive(Clone)]
pub(super) struct TooLong(watch::Receiver<()>);

impl<R> LineWatch<R> {
    /// Lines may be as long as `longest`, their ends included.
    pub(super) fn new(inner: R, longest: usize) -> (Self, TooLong) {
        let (sender, receiver) = watch::channel(());
        (Self { inner, line_bytes: 0, longest, too_long: sender }, TooLong(receiver))
    }

    fn count(&mut self, more: usize) {
        let was_too_long = self.line_bytes > self.longest;
        self.line_bytes = self.line_bytes.saturating_add(more);
        if self.line_bytes > self.longest && !was_too_long {
            self.too_long.send_replace(());
        }
    }
}

impl TooLong {
    /// For what is not read in lines.
    pub(super) fn never() -> Self {
        Self(watch::channel(()).1)
    }

    /// Ends with the next line from now on that is too long.
    pub(super) fn next(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut next = self.0.clone();
        next.mark_unchanged();
        async move {
            if next.changed().await.is_err() {
                future::pending::<()>().await;
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LineWatch<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        for part in buffer.filled()[before..].split_inclusive(|&byte| byte == b'\n') {
            this.count(part.len());
            if part.ends_with(b"\n") {
                this.line_bytes = 0;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn each_line_that_is_too_long_is_told_once() {
        let check = async |text: &str, expected: usize| {
            let (mut watch, too_long) = LineWatch::new(text.as_bytes(), 4);
            let (mut told, mut next) = (0, Box::pin(too_long.next()));
            // One byte at a time, since a reader sees lines in pieces.
            while let Ok(1) = watch.read(&mut [0]).await {
                if next.as_mut().now_or_never().is_some() {
                    told += 1;
                    next = Box::pin(too_long.next());
                }
            }
            assert_eq!(told, expected, "{text:?}");
        };
        check("abc\nabc\n\n", 0).await;
        check("abcd\n", 1).await;
        check("abcdefgh\nabc\nabcde", 2).await;
    }
}
