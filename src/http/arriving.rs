//! The body of a request on its way in.
//!
//! In: hyper's body. Out: the same frames, in the same order. Owns what came before anybody read. May not: ask for a body
//! whose client waits to be asked (`Expect: 100-continue`).
//!
//! hyper hands out a body only when it is asked for it. Asked before the request is served, it gives what it has read
//! along with the head at once; asked later, it has to come round to the connection once more.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;

type Piece = Result<Frame<Bytes>, hyper::Error>;

/// See the module's header.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    /// What came at once.
    first: Option<Piece>,
}

impl Arriving {
    /// Asks for the body of a request that was just read.
    pub(super) fn ask(request: Request<Incoming>) -> Request<Self> {
        let waits = request.headers().contains_key(EXPECT);
        request.map(|mut body| {
            let mut first = None;
            if !waits && !body.is_end_stream() {
                // Whoever reads it later is the one to be woken.
                let mut nobody = Context::from_waker(Waker::noop());
                if let Poll::Ready(Some(piece)) = Pin::new(&mut body).poll_frame(&mut nobody) {
                    first = Some(piece);
                }
            }
            Self { body, first }
        })
    }

    fn first_len(&self) -> u64 {
        let data = self.first.as_ref().and_then(|piece| piece.as_ref().ok()?.data_ref());
        data.map_or(0, |data| data.len() as u64)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        match self.first.take() {
            Some(piece) => Poll::Ready(Some(piece)),
            None => Pin::new(&mut self.body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, first) = (self.body.size_hint(), self.first_len());
        if let Some(rest) = hint.exact() {
            hint.set_exact(rest + first);
        }
        hint
    }
}
