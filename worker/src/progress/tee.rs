//! An output that is heard as it is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::lines::Lines;
use super::shared::Shared;

/// An output whose lines are heard as it is read; nothing in it is changed.
pub(crate) struct Tee<R> {
    output: R,
    lines: Lines,
    shared: Arc<Shared>,
}

impl<R> Tee<R> {
    pub(super) fn new(output: R, shared: Arc<Shared>) -> Self {
        Self { output, lines: Lines::default(), shared }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Tee<R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.output).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            let piece = &buffer.filled()[before..];
            let told =
                if piece.is_empty() { this.lines.finish().into_iter().collect() } else { this.lines.push(piece) };
            this.shared.hear(told);
        }
        read
    }
}
