//! A span that goes on beside the work that it began with.

use std::ops::Deref;

use tracing::Span;

/// A span that ends when this is dropped, rather than when something was last done in it.
#[derive(Debug)]
pub struct HeldSpan(Span);

impl HeldSpan {
    /// Has the current span go on.
    pub fn current() -> Self {
        Self(Span::current())
    }
}

impl Deref for HeldSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for HeldSpan {
    fn drop(&mut self) {
        // For traces, a span has ended when it was last left.
        self.0.in_scope(|| {});
    }
}
