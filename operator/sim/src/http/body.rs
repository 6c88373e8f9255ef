//! Bodies that can end too early.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The connection is to be closed without an answer, or in the middle of one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the simulator was told to drop this connection")]
pub(crate) struct Dropped;

/// A body that promises all of itself and may deliver half.
#[derive(Debug)]
pub(crate) struct Payload {
    next: Option<Bytes>,
    /// Bytes that were promised and never come.
    missing: usize,
    /// Whether what was delivered had a chance to leave.
    flushed: bool,
}

impl Payload {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { next: Some(bytes), missing: 0, flushed: false }
    }

    pub(crate) fn half(bytes: &Bytes) -> Self {
        let half = bytes.slice(..bytes.len() / 2);
        Self { missing: bytes.len() - half.len(), next: Some(half), flushed: false }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if let Some(bytes) = self.next.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if self.missing == 0 {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // Once around the loop: the server writes what it has while it waits for us.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Dropped)))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.missing == 0
    }

    fn size_hint(&self) -> SizeHint {
        let size = self.next.as_ref().map_or(0, Bytes::len) + self.missing;
        SizeHint::with_exact(u64::try_from(size).unwrap_or(u64::MAX))
    }
}
