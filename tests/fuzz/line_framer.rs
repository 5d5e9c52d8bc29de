//! Fuzz target: lines out of a pipe that delivers bytes in any portions, and lines made for one.
//!
//! In: a limit, the sizes of portions, the bytes. Out: a panic where the portions matter, where a line is not what stood
//! between two newlines, or where a line that hub makes is not one. Owns nothing. May not: know how the framer works.
#![no_main]

use bytes::Bytes;
use hub::mcp::line::Framed;
use hub::mcp::{Line, LineFramer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [limit, portion, text @ ..] = data else { return };
    let limit = usize::from(*limit);
    let expected = reference(text, limit);
    assert_eq!(framed(text, limit, &mut || text.len()), expected, "as a whole");
    assert_eq!(framed(text, limit, &mut || 1), expected, "byte by byte");
    let mut seed = u32::from(*portion);
    let mut any = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 28) as usize
    };
    assert_eq!(framed(text, limit, &mut any), expected, "in portions");
    made(text, usize::from(*portion));
});

/// What stands between newlines: without a trailing CR, without the first BOM, not blank; up to the first that is too
/// long, after which nothing can be followed.
fn reference(text: &[u8], limit: usize) -> Vec<Framed> {
    let mut out = Vec::new();
    let mut lines = text.split(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        if line.len() > limit {
            out.push(Framed::TooLong);
            break;
        }
        if lines.peek().is_none() {
            break;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if at == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        if !line.iter().all(u8::is_ascii_whitespace) {
            out.push(Framed::Line(Bytes::copy_from_slice(line)));
        }
    }
    out
}

fn framed(text: &[u8], limit: usize, portion: &mut dyn FnMut() -> usize) -> Vec<Framed> {
    let mut framer = LineFramer::new(limit);
    let (mut out, mut rest) = (Vec::new(), text);
    loop {
        while let Some(framed) = framer.next_line() {
            let over = framed == Framed::TooLong;
            out.push(framed);
            if over {
                return out;
            }
        }
        if rest.is_empty() {
            return out;
        }
        let (now, later) = rest.split_at(portion().min(rest.len()));
        framer.buffer().extend_from_slice(now);
        rest = later;
    }
}

/// Any pieces become one line, which a framer gives back.
fn made(text: &[u8], size: usize) {
    let pieces: Vec<Bytes> = text.chunks(size.max(1)).map(Bytes::copy_from_slice).collect();
    let line = Line::new(pieces);
    let bytes = line.to_bytes();
    let flat: Vec<u8> = text.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect();
    assert_eq!(bytes.strip_suffix(b"\n"), Some(&flat[..]));
    assert_eq!(line.byte_len(), bytes.len());
    assert_eq!(line.into_pieces().concat(), bytes);
    let again = framed(&bytes, bytes.len(), &mut || usize::MAX);
    let bare = flat.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&flat);
    if bare.iter().all(u8::is_ascii_whitespace) {
        assert_eq!(again, []);
    } else {
        assert_eq!(again, [Framed::Line(Bytes::copy_from_slice(bare))]);
    }
}
