//! One message as bytes without a newline inside, and the framer that cuts a child's output into such lines.
//!
//! In: raw slices, or bytes from a pipe. Out: [`Line`]s to write, [`Framed`] lines that were read. Owns the framer's
//! buffer. May not: do I/O, or look at what a line says (that is `message`).

use bytes::{Buf, Bytes, BytesMut};

/// What is written to a child's stdin: pieces that together are one line with its newline at the end, or several lines.
/// Pieces, so that a large payload goes from the socket's buffer into the pipe without a copy.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pieces: Vec<Bytes>,
    /// What comes behind them.
    open: BytesMut,
}

/// Payloads below this are copied into one piece: one small copy beats a scattered write.
const JOIN_BELOW: usize = 16 << 10;

impl Line {
    /// Joins pieces into a line. Raw newlines in a piece become spaces: after JSON validation they can only be
    /// insignificant whitespace (PROTOCOL 0.2.6). This is the only place that makes a `Line`, and so the proof.
    pub fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        Self::with_head(BytesMut::new(), pieces)
    }

    /// The same behind a `head`, which may have room for more.
    pub fn with_head(head: BytesMut, pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut line = Self { pieces: Vec::new(), open: head };
        if memchr::memchr2(b'\n', b'\r', &line.open).is_some() {
            line.open = BytesMut::from(without_newlines(line.open.freeze()));
        }
        pieces.into_iter().for_each(|piece| line.put(without_newlines(piece)));
        line.open.extend_from_slice(b"\n");
        line
    }

    fn put(&mut self, piece: Bytes) {
        if piece.len() < JOIN_BELOW {
            self.open.extend_from_slice(&piece);
        } else {
            self.close();
            self.pieces.push(piece);
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(self.open.split().freeze());
        }
    }

    /// Another line behind this one, to be written together. Small neighbours become one piece.
    pub fn append(&mut self, other: Self) {
        if self.open.len() >= JOIN_BELOW {
            self.close();
        }
        other.pieces.into_iter().for_each(|piece| self.put(piece));
        self.open.extend_from_slice(&other.open);
    }

    /// The bytes to write, in order, the newline included.
    pub fn into_pieces(mut self) -> Vec<Bytes> {
        self.close();
        self.pieces
    }

    /// Length in bytes, the newline included.
    pub fn byte_len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.open.len()
    }

    /// The whole line as one buffer (tests, logs).
    pub fn to_bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(self.byte_len());
        self.pieces.iter().for_each(|piece| all.extend_from_slice(piece));
        all.extend_from_slice(&self.open);
        all.freeze()
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Line {}

/// Replaces raw CR and LF by spaces; costs one search when there are none.
pub fn without_newlines(raw: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &raw).is_none() {
        return raw;
    }
    let mut owned = BytesMut::from(&raw[..]);
    for byte in owned.iter_mut() {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    owned.freeze()
}

/// What the framer found next in a child's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A line without its newline, a trailing CR and a first BOM; never blank. Not yet known to be JSON.
    Line(Bytes),
    /// More than the limit without a newline: the stream cannot be followed any more.
    TooLong,
}

/// Shorter lines are copied out of the read buffer: a slice would keep the whole buffer alive for as long as somebody
/// (a replay buffer, a cached list) keeps the line, and would cost a fresh buffer for the next read besides.
const COPY_BELOW: usize = 16 << 10;

/// Cuts bytes into lines. Remembers how far it has looked: a megabyte line is searched once, not once per read.
#[derive(Debug)]
pub struct LineFramer {
    buffer: BytesMut,
    looked: usize,
    line_max: usize,
    first: bool,
}

impl LineFramer {
    /// A framer that gives up on lines longer than `line_max` bytes.
    pub fn new(line_max: usize) -> Self {
        Self { buffer: BytesMut::new(), looked: 0, line_max, first: true }
    }

    /// Where the next read goes; the caller reserves room in it and appends to it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes the next `length` bytes out of the buffer.
    fn take(&mut self, length: usize) -> Bytes {
        if length < COPY_BELOW || length < self.buffer.capacity() / 8 {
            let line = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length);
            return line;
        }
        self.buffer.split_to(length).freeze()
    }

    /// After [`Framed::TooLong`]: what there is of that line, and whether its end is there too. Until it is, no other line
    /// is. The child's readers do without: they give up.
    pub fn take_part(&mut self) -> (Bytes, bool) {
        self.looked = 0;
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            // The room that it took goes with it.
            return (std::mem::take(&mut self.buffer).freeze(), false);
        };
        let part = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        (part, true)
    }

    /// The next complete line, if there is one.
    pub fn next_line(&mut self) -> Option<Framed> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &self.buffer[self.looked..]) else {
                self.looked = self.buffer.len();
                return (self.looked > self.line_max).then_some(Framed::TooLong);
            };
            let length = self.looked + found;
            if length > self.line_max {
                return Some(Framed::TooLong);
            }
            self.looked = 0;
            let mut line = self.take(length);
            self.buffer.advance(1);
            if line.last() == Some(&b'\r') {
                line.truncate(length - 1);
            }
            if std::mem::take(&mut self.first) && line.starts_with(b"\xEF\xBB\xBF") {
                line = line.slice(3..);
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Framed::Line(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(framer: &mut LineFramer) -> Vec<Framed> {
        std::iter::from_fn(|| framer.next_line()).take(1000).collect()
    }

    #[test]
    fn pretty_printed_payload_becomes_one_line() {
        let line = Line::new([
            Bytes::from_static(b"{\"a\":"),
            Bytes::from_static(b"{\r\n \"b\":\n1}"),
            Bytes::from_static(b"}"),
        ]);
        assert_eq!(&line.to_bytes()[..], b"{\"a\":{   \"b\": 1}}\n");
    }

    #[test]
    fn lines_go_out_together() {
        let mut lines = Line::new([Bytes::from_static(b"{}")]);
        lines.append(Line::new([Bytes::from_static(b"[]")]));
        let big = Bytes::from(vec![b'x'; JOIN_BELOW]);
        lines.append(Line::new([big.clone()]));
        let pieces = lines.into_pieces();
        assert_eq!((pieces.len(), &pieces[0][..]), (3, &b"{}\n[]\n"[..]));
        assert_eq!(pieces[1].as_ptr(), big.as_ptr());
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let big = Bytes::from(vec![b'x'; JOIN_BELOW]);
        let line = Line::new([Bytes::from_static(b"a"), big.clone(), Bytes::from_static(b"b")]);
        let pieces = line.into_pieces();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].as_ptr(), big.as_ptr());
    }

    #[test]
    fn bom_cr_and_blank_lines() {
        let mut framer = LineFramer::new(100);
        framer.buffer().extend_from_slice(b"\xEF\xBB\xBF{}\r\n\n  \t\r\n{\"a\":1}\nrest");
        let seen = lines(&mut framer);
        assert_eq!(seen, [Framed::Line(Bytes::from_static(b"{}")), Framed::Line(Bytes::from_static(b"{\"a\":1}"))]);
    }

    #[test]
    fn small_lines_do_not_keep_the_buffer_and_large_ones_are_not_copied() {
        let mut framer = LineFramer::new(1 << 20);
        framer.buffer().reserve(20_000);
        framer.buffer().extend_from_slice(b"{}\n");
        let before = framer.buffer().as_ptr();
        let Some(Framed::Line(small)) = framer.next_line() else { panic!("a line") };
        framer.buffer().reserve(20_000);
        assert_eq!(framer.buffer().as_ptr(), before, "the buffer was reused although the line lives");
        framer.buffer().extend_from_slice(&[b'x'; COPY_BELOW]);
        framer.buffer().extend_from_slice(b"\n");
        let before = framer.buffer().as_ptr();
        let Some(Framed::Line(large)) = framer.next_line() else { panic!("a line") };
        assert_eq!((large.as_ptr(), &small[..]), (before, &b"{}"[..]));
    }

    #[test]
    fn a_line_over_the_limit_is_reported() {
        let mut framer = LineFramer::new(4);
        framer.buffer().extend_from_slice(b"1234\n");
        assert_eq!(framer.next_line(), Some(Framed::Line(Bytes::from_static(b"1234"))));
        framer.buffer().extend_from_slice(b"12345");
        assert_eq!(framer.next_line(), Some(Framed::TooLong));
        assert_eq!(framer.take_part(), (Bytes::from_static(b"12345"), false));
        framer.buffer().extend_from_slice(b"6\n7\n12345\n");
        assert_eq!(framer.take_part(), (Bytes::from_static(b"6"), true));
        assert_eq!(framer.next_line(), Some(Framed::Line(Bytes::from_static(b"7"))));
        assert_eq!(framer.next_line(), Some(Framed::TooLong));
        assert_eq!(framer.take_part(), (Bytes::from_static(b"12345"), true));
    }

    proptest! {
        #[test]
        fn split_anywhere_is_the_same_as_whole(text in "[a-c\\r\\n ]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let mut whole = LineFramer::new(1000);
            whole.buffer().extend_from_slice(text.as_bytes());
            let expected = lines(&mut whole);

            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&c| c <= text.len()).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let (mut framer, mut seen) = (LineFramer::new(1000), Vec::new());
            for pair in cuts.windows(2) {
                framer.buffer().extend_from_slice(&text.as_bytes()[pair[0]..pair[1]]);
                seen.extend(lines(&mut framer));
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
