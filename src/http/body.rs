//! Bodies: how a request's is taken in, and what a reply's is made of.
//!
//! In: hyper's incoming body and a limit; bytes and streams for a reply. Out: one [`Bytes`]; a [`ReplyBody`] for hyper.
//! Owns: what it has read so far. May not: look into a body, copy a reply, or read past the limit.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use crate::limits;

use super::held::{self, Bodies};
use super::respond::Refusal;

/// Most pieces of one [`ReplyBody::Full`]: what stands before a payload, the payload, what stands behind it.
pub const PIECES_MAX: usize = 3;

/// A body without a length of its own: an event stream. It ends when it is over, and being dropped means that the
/// client is gone.
pub type BoxedStream = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

/// The body of a reply.
pub enum ReplyBody {
    /// Nothing.
    Empty,
    /// Everything at once: payload bytes are handed to the socket from where they are, with an exact length.
    Full(Pieces),
    /// Piece by piece, as long as it takes.
    Stream(BoxedStream),
}

/// The pieces of a body that are still to be written, in order.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: [Bytes; PIECES_MAX],
    next: usize,
}

impl Pieces {
    fn left(&self) -> usize {
        self.bytes[self.next..].iter().map(Bytes::len).sum()
    }

    fn take(&mut self) -> Option<Bytes> {
        while self.next < PIECES_MAX {
            let piece = std::mem::take(&mut self.bytes[self.next]);
            self.next += 1;
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        None
    }
}

impl ReplyBody {
    /// A body of these pieces, written one after the other.
    pub fn pieces(bytes: [Bytes; PIECES_MAX]) -> Self {
        Self::Full(Pieces { bytes, next: 0 })
    }

    /// A body that is a stream.
    pub fn stream(body: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self::Stream(Box::pin(body))
    }
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self::pieces([bytes, Bytes::new(), Bytes::new()])
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(pieces) => Poll::Ready(pieces.take().map(|piece| Ok(Frame::data(piece)))),
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(pieces) => pieces.left() == 0,
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(pieces) => SizeHint::with_exact(pieces.left() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// The whole body of a request, at most `max` bytes, for which there must be room among the `bodies` that are held.
///
/// A declared length over the limit is refused before anything is read, so a client that waits for `100 Continue` never
/// sends it. A body that came in one piece is not copied; one that comes in several is copied once, into a buffer of its
/// declared length (pages that were not written to cost nothing, so a lie about the length costs its author only).
pub async fn collect<B>(mut body: B, max: usize, bodies: &Arc<Bodies>) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let declared = declared_length(&body, max)?;
    let Some(first) = next_piece(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > max {
        return Err(Refusal::BodyTooLarge { max });
    }
    let is_whole = declared == Some(first.len()) || body.is_end_stream();
    if is_whole && !held::counts(first.len()) {
        return Ok(first);
    }
    let mut room = bodies.room(max);
    room.grow(first.len())?;
    if is_whole {
        return Ok(room.around(first));
    }
    let mut whole = BytesMut::with_capacity(declared.unwrap_or(first.len() * 4));
    whole.extend_from_slice(&first);
    drop(first);
    while let Some(piece) = next_piece(&mut body).await? {
        if whole.len() + piece.len() > max {
            return Err(Refusal::BodyTooLarge { max });
        }
        room.grow(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(room.around(whole.freeze()))
}

fn declared_length(body: &impl Body, max: usize) -> Result<Option<usize>, Refusal> {
    let Some(length) = body.size_hint().exact() else { return Ok(None) };
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(Some(length)),
        _ => Err(Refusal::BodyTooLarge { max }),
    }
}

async fn next_piece<B>(body: &mut B) -> Result<Option<Bytes>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    loop {
        // Most pieces are there already: no timer for those.
        let mut coming = body.frame();
        let frame = match poll_fn(|cx| Poll::Ready(Pin::new(&mut coming).poll(cx))).await {
            Poll::Ready(frame) => frame,
            Poll::Pending => match tokio::time::timeout(limits::BODY_READ_IDLE, coming).await {
                Err(_elapsed) => return Err(Refusal::BodyTooSlow { idle: limits::BODY_READ_IDLE }),
                Ok(frame) => frame,
            },
        };
        let frame = match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refusal::BodyBroken(Box::new(error))),
            Some(Ok(frame)) => frame,
        };
        // Trailers are of no use here, and an empty piece is no piece.
        if let Ok(data) = frame.into_data()
            && data.has_remaining()
        {
            return Ok(Some(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use http_body_util::Full;

    use super::*;

    /// A body of these pieces; with `hangs`, one that never ends.
    struct Scripted {
        pieces: VecDeque<Bytes>,
        declared: Option<u64>,
        hangs: bool,
    }

    impl Scripted {
        fn new(pieces: &[&'static str], declared: Option<u64>) -> Self {
            let pieces = pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect();
            Self { pieces, declared, hangs: false }
        }
    }

    impl Body for Scripted {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.pieces.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.hangs => Poll::Pending,
                None => Poll::Ready(None),
            }
        }

        fn size_hint(&self) -> SizeHint {
            self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    async fn collect<B>(body: B, max: usize) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        super::collect(body, max, &Arc::default()).await
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        for size in [7, limits::HELD_BODY_COUNTS_FROM_BYTES] {
            let bytes = Bytes::from(vec![b'7'; size]);
            let taken = collect(Full::new(bytes.clone()), size).await.expect("fits");
            assert_eq!(taken.as_ptr(), bytes.as_ptr());
        }
    }

    #[tokio::test]
    async fn what_arrives_takes_room_and_what_is_announced_does_not() {
        let bodies = Arc::new(Bodies::default());
        let (max, large) = (1 << 30, Bytes::from(vec![b' '; limits::HELD_BODY_COUNTS_FROM_BYTES]));
        let small = super::collect(Full::new(Bytes::from_static(b"{}")), max, &bodies).await.expect("fits");
        assert_eq!((small.len(), bodies.held()), (2, 0));
        let whole = super::collect(Full::new(large.clone()), max, &bodies).await.expect("fits");
        let joined = super::collect(Scripted::new(&["ab", "cd"], None), max, &bodies).await.expect("fits");
        assert_eq!(bodies.held(), large.len() + 4);
        drop((whole, joined));
        assert_eq!(bodies.held(), 0);

        let mut unfinished = Scripted::new(&["abc"], Some(1 << 30));
        unfinished.hangs = true;
        let mut coming = Box::pin(super::collect(unfinished, max, &bodies));
        assert!(futures_now(&mut coming).is_pending());
        assert_eq!(bodies.held(), 3, "what came, not what was announced");
        drop(coming);
        assert_eq!(bodies.held(), 0, "the client went away");
    }

    #[tokio::test]
    async fn a_body_without_room_is_refused_in_the_middle() {
        let bodies = Arc::new(Bodies::default());
        let mut others = bodies.room(1);
        others.grow(limits::HELD_BODIES_BYTES_MAX - 3).expect("room");
        let refused = super::collect(Scripted::new(&["ab", "cd", "ef"], Some(6)), 10, &bodies).await;
        assert!(matches!(refused, Err(Refusal::NoRoom)));
        assert_eq!(bodies.held(), limits::HELD_BODIES_BYTES_MAX - 3);
        let small = super::collect(Full::new(Bytes::from_static(b"{}")), 10, &bodies).await;
        assert!(small.is_ok(), "small ones go on");
    }

    fn futures_now<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[tokio::test]
    async fn pieces_are_joined() {
        let body = Scripted::new(&["ab", "", "cd", "e"], Some(5));
        assert_eq!(collect(body, 5).await.expect("fits"), "abcde");
        let body = Scripted::new(&["ab", "cd"], None);
        assert_eq!(collect(body, 4).await.expect("fits"), "abcd");
        assert_eq!(collect(Scripted::new(&[], None), 4).await.expect("fits"), "");
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_refused() {
        let declared = Scripted::new(&["not read"], Some(5));
        assert!(matches!(collect(declared, 4).await, Err(Refusal::BodyTooLarge { max: 4 })));
        let undeclared = Scripted::new(&["ab", "cde"], None);
        assert!(matches!(collect(undeclared, 4).await, Err(Refusal::BodyTooLarge { max: 4 })));
        let at_once = Scripted::new(&["abcde"], None);
        assert!(matches!(collect(at_once, 4).await, Err(Refusal::BodyTooLarge { max: 4 })));
        let boast = Scripted::new(&[], Some(u64::MAX));
        assert!(matches!(collect(boast, 4).await, Err(Refusal::BodyTooLarge { max: 4 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let mut body = Scripted::new(&["ab"], Some(5));
        body.hangs = true;
        let begun = tokio::time::Instant::now();
        assert!(matches!(collect(body, 9).await, Err(Refusal::BodyTooSlow { .. })));
        assert_eq!(begun.elapsed().as_secs(), limits::BODY_READ_IDLE.as_secs());
        assert!(begun.elapsed() < limits::BODY_READ_IDLE + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_reply_has_an_exact_length_and_its_own_bytes() {
        let payload = Bytes::from(vec![b'x'; 1000]);
        let body = ReplyBody::pieces([Bytes::from_static(b"<"), payload.clone(), Bytes::from_static(b">")]);
        assert_eq!(body.size_hint().exact(), Some(1002));
        let mut body = body;
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.expect("infallible").into_data().expect("data"));
        }
        assert_eq!(frames[1].as_ptr(), payload.as_ptr());
        assert_eq!(frames.len(), 3);
        assert!(body.is_end_stream() && ReplyBody::Empty.is_end_stream());
    }
}
