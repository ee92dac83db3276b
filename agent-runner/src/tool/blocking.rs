//! Work of tools that blocks: it is done on a thread of its own, and learns there that nobody waits for it any more.

use std::sync::{Arc, Weak};

use super::Error;

/// Who waits for work on another thread.
#[derive(Debug)]
pub(crate) struct Caller(Weak<()>);

impl Caller {
    /// Fails once nobody waits any more. Work asks this between its steps, and before it changes anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.0.strong_count() == 0 {
            return Err(Error("nobody waits for this call any more".to_owned()));
        }
        Ok(())
    }
}

/// Does what may block on a thread for such things. Work that has not begun when the future is dropped does not begin;
/// work that has begun goes on until it next asks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Caller) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let waiting = Arc::new(());
    let caller = Caller(Arc::downgrade(&waiting));
    let working = tokio::task::spawn_blocking(move || {
        caller.check()?;
        work(&caller)
    });
    let done = working.await;
    // Held until here: that it is gone is how the work learns of a dropped future.
    drop(waiting);
    done.unwrap_or_else(|_| Err(Error::broken_off()))
}

/// A caller that waits for as long as the first of the two is kept.
#[cfg(test)]
pub(crate) fn waiting() -> (Arc<()>, Caller) {
    let waiting = Arc::new(());
    let caller = Caller(Arc::downgrade(&waiting));
    (waiting, caller)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_learns_that_the_future_was_dropped() {
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let work = blocking(move |caller| {
            let before = caller.check();
            begun.send(()).expect("is waited for");
            may_go_on.blocking_recv().expect("is sent");
            tell.send((before, caller.check())).expect("is waited for");
            Ok(())
        });
        tokio::select! {
            done = work => panic!("is not done: {done:?}"),
            begun = has_begun => begun.expect("is sent"),
        }
        go_on.send(()).expect("is waited for");
        let (before, after) = told.await.expect("is sent");
        assert!(before.is_ok() && after.is_err(), "{before:?}, {after:?}");
    }
}
