//! This file answers: which replies do the bytes from a server hold?
//!
//! The client's side, for our tests and `rkv bench`: RESP2 and RESP3 as [`Reply`] can hold them. Pushes, attributes,
//! big numbers and streamed types are absent: nothing of ours sends or asks for them.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use thiserror::Error;

use crate::reply::VERBATIM_FORMAT;
use crate::{Reply, integer};

/// What a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes of a line, its type byte included.
    pub max_line: usize,
    /// Bytes of one bulk string.
    pub max_bulk: usize,
    /// Elements of one reply, those of all its levels together.
    pub max_elements: usize,
    /// Arrays in arrays.
    pub max_depth: usize,
}

impl Default for ReplyLimits {
    fn default() -> ReplyLimits {
        ReplyLimits {
            max_line: 64 << 10,
            max_bulk: 512 << 20,
            max_elements: 1 << 24,
            max_depth: 32,
        }
    }
}

/// Bytes that are no reply: the connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// No type that is known here.
    #[error("a reply cannot begin with byte {0}")]
    UnknownType(u8),
    /// A line that is not what its type byte promised.
    #[error("a reply's line is malformed")]
    Malformed,
    /// Above one of [`ReplyLimits`].
    #[error("a reply is too large or too deep")]
    TooLarge,
}

/// Finds replies in a buffer that only grows at its end; takes each part from its front as soon as it is whole.
#[derive(Debug)]
pub struct ReplyParser {
    limits: ReplyLimits,
    /// How far a line end has been looked for.
    searched: usize,
    /// The bulk string whose body is awaited.
    body: Option<(Body, usize)>,
    /// The arrays that are open, outermost first.
    open: Vec<Open>,
    /// Elements claimed by the reply in progress.
    elements: usize,
    failed: Option<ReplyError>,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Bulk,
    Verbatim,
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Set,
    Map,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    left: usize,
    /// Keys and values of a map in turn.
    items: Vec<Reply>,
}

/// A part of a reply.
enum Part {
    Whole(Reply),
    Opened(Open),
    /// The header of a body.
    Announced,
}

impl ReplyParser {
    /// A parser for one connection.
    pub fn new(limits: ReplyLimits) -> ReplyParser {
        ReplyParser {
            limits,
            searched: 0,
            body: None,
            open: Vec::new(),
            elements: 0,
            failed: None,
        }
    }

    /// The next reply in `buffer`; none until more has come. After an error every call gives that error.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.advance(buffer);
        self.failed = result.as_ref().err().copied();
        result
    }

    fn advance(&mut self, buffer: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let part = match self.body {
                Some((body, length)) => self.body(buffer, body, length)?,
                None => self.line(buffer)?,
            };
            match part {
                None => return Ok(None),
                Some(Part::Announced) => {}
                Some(Part::Opened(open)) => self.open.push(open),
                Some(Part::Whole(reply)) => {
                    if let Some(reply) = self.place(reply) {
                        self.elements = 0;
                        return Ok(Some(reply));
                    }
                }
            }
        }
    }

    /// Puts a whole part where it belongs; the answer is the reply that this completes.
    fn place(&mut self, mut reply: Reply) -> Option<Reply> {
        loop {
            let Some(innermost) = self.open.last_mut() else {
                return Some(reply);
            };
            innermost.items.push(reply);
            innermost.left -= 1;
            if innermost.left > 0 {
                return None;
            }
            reply = close(self.open.pop()?);
        }
    }

    fn body(
        &mut self,
        buffer: &mut BytesMut,
        body: Body,
        length: usize,
    ) -> Result<Option<Part>, ReplyError> {
        if buffer.len() < length + 2 {
            return Ok(None);
        }
        let mut bytes = buffer.split_to(length).freeze();
        if !buffer.starts_with(b"\r\n") {
            return Err(ReplyError::Malformed);
        }
        buffer.advance(2);
        self.body = None;
        Ok(Some(Part::Whole(match body {
            Body::Bulk => Reply::Bulk(bytes),
            Body::Error => Reply::error(String::from_utf8_lossy(&bytes).into_owned()),
            Body::Verbatim if bytes.len() >= VERBATIM_FORMAT.len() => {
                bytes.advance(VERBATIM_FORMAT.len());
                Reply::Verbatim(bytes)
            }
            Body::Verbatim => return Err(ReplyError::Malformed),
        })))
    }

    fn line(&mut self, buffer: &mut BytesMut) -> Result<Option<Part>, ReplyError> {
        let found = memchr(b'\r', &buffer[self.searched..]).map(|i| self.searched + i);
        let end = found.unwrap_or(buffer.len());
        if end > self.limits.max_line {
            return Err(ReplyError::TooLarge);
        }
        self.searched = end;
        match (found, buffer.get(end + 1)) {
            (Some(_), Some(b'\n')) => {}
            (Some(_), Some(_)) => return Err(ReplyError::Malformed),
            _ => return Ok(None),
        }
        let mut line = buffer.split_to(end + 2).freeze();
        line.truncate(end);
        self.searched = 0;
        self.understand(&line).map(Some)
    }

    fn understand(&mut self, line: &[u8]) -> Result<Part, ReplyError> {
        let (&kind, rest) = line.split_first().ok_or(ReplyError::Malformed)?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let reply = match kind {
            b'+' if rest == b"OK" => Reply::OK,
            b'+' => Reply::simple(text()),
            b'-' => Reply::error(text()),
            b':' => Reply::Integer(integer::parse(rest).ok_or(ReplyError::Malformed)?),
            b'_' if rest.is_empty() => Reply::Null,
            b'#' if rest == b"t" => Reply::Bool(true),
            b'#' if rest == b"f" => Reply::Bool(false),
            b',' => Reply::Double(text().parse().map_err(|_| ReplyError::Malformed)?),
            b'$' | b'*' if rest == b"-1" => Reply::Null,
            b'$' => return self.announce(Body::Bulk, rest),
            b'=' => return self.announce(Body::Verbatim, rest),
            b'!' => return self.announce(Body::Error, rest),
            b'*' => return self.opened(Kind::Array, rest),
            b'~' => return self.opened(Kind::Set, rest),
            b'%' => return self.opened(Kind::Map, rest),
            b'_' | b'#' => return Err(ReplyError::Malformed),
            other => return Err(ReplyError::UnknownType(other)),
        };
        Ok(Part::Whole(reply))
    }

    fn announce(&mut self, body: Body, rest: &[u8]) -> Result<Part, ReplyError> {
        let length = length(rest)?;
        if length > self.limits.max_bulk {
            return Err(ReplyError::TooLarge);
        }
        self.body = Some((body, length));
        Ok(Part::Announced)
    }

    fn opened(&mut self, kind: Kind, rest: &[u8]) -> Result<Part, ReplyError> {
        let length = length(rest)?;
        let left = if kind == Kind::Map {
            length.saturating_mul(2)
        } else {
            length
        };
        self.elements = self.elements.saturating_add(left);
        if self.elements > self.limits.max_elements || self.open.len() == self.limits.max_depth {
            return Err(ReplyError::TooLarge);
        }
        let open = Open {
            kind,
            left,
            items: Vec::new(),
        };
        Ok(if left == 0 {
            Part::Whole(close(open))
        } else {
            Part::Opened(open)
        })
    }
}

fn length(digits: &[u8]) -> Result<usize, ReplyError> {
    integer::parse(digits)
        .and_then(|length| usize::try_from(length).ok())
        .ok_or(ReplyError::Malformed)
}

fn close(open: Open) -> Reply {
    match open.kind {
        Kind::Array => Reply::Array(open.items),
        Kind::Set => Reply::Set(open.items),
        Kind::Map => {
            let mut pairs = Vec::with_capacity(open.items.len() / 2);
            let mut items = open.items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Reply::Map(pairs)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Protocol;

    type Outcome = (Vec<Reply>, Option<ReplyError>);

    fn parse(input: &[u8], piece: usize, limits: ReplyLimits) -> Outcome {
        let mut parser = ReplyParser::new(limits);
        let mut buffer = BytesMut::new();
        let mut replies = Vec::new();
        for piece in input.chunks(piece.max(1)) {
            buffer.extend_from_slice(piece);
            loop {
                match parser.next(&mut buffer) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
        }
        (replies, None)
    }

    fn small() -> ReplyLimits {
        ReplyLimits {
            max_line: 20,
            max_bulk: 20,
            max_elements: 6,
            max_depth: 3,
        }
    }

    #[test]
    fn bad_replies_are_errors() {
        // Lost without it: a client of ours would hang, or take memory that a server claims.
        let table: [(&[u8], ReplyError); 14] = [
            (b"?\r\n", ReplyError::UnknownType(b'?')),
            (b"\r\n", ReplyError::Malformed),
            (b":x\r\n", ReplyError::Malformed),
            (b"+a\rb", ReplyError::Malformed),
            (b"$3\r\nabcd\r\n", ReplyError::Malformed),
            (b"$-2\r\n", ReplyError::Malformed),
            (b"=3\r\nabc\r\n", ReplyError::Malformed),
            (b"#x\r\n", ReplyError::Malformed),
            (b",x\r\n", ReplyError::Malformed),
            (b"$21\r\n", ReplyError::TooLarge),
            (b"*7\r\n", ReplyError::TooLarge),
            (b"%4\r\n", ReplyError::TooLarge),
            (b"*1\r\n*1\r\n*1\r\n*1\r\n", ReplyError::TooLarge),
            (b"+aaaaaaaaaaaaaaaaaaaaaaaaaaaa", ReplyError::TooLarge),
        ];
        for (input, expected) in table {
            assert_eq!(
                parse(input, 100, small()).1,
                Some(expected),
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }

    #[test]
    fn both_nulls_and_long_errors() {
        // Lost without it: null arrays of a RESP2 server and blob errors of a RESP3 server would be refused.
        let (replies, error) = parse(
            b"$-1\r\n*-1\r\n_\r\n!5\r\nERR a\r\n*0\r\n",
            3,
            ReplyLimits::default(),
        );
        assert_eq!(error, None);
        assert_eq!(
            replies,
            [
                Reply::Null,
                Reply::Null,
                Reply::Null,
                Reply::error("ERR a"),
                Reply::EMPTY
            ]
        );
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        let leaf = prop_oneof![
            "[ -~]{0,12}".prop_map(Reply::simple),
            "[ -~]{0,12}".prop_map(Reply::error),
            any::<i64>().prop_map(Reply::Integer),
            bytes().prop_map(Reply::Bulk),
            Just(Reply::Null),
            any::<f64>()
                .prop_filter("nan is not itself", |n| !n.is_nan())
                .prop_map(Reply::Double),
            bytes().prop_map(Reply::Verbatim),
            any::<bool>().prop_map(Reply::Bool),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let items = || prop::collection::vec(inner.clone(), 0..5);
            prop_oneof![
                items().prop_map(Reply::Array),
                items().prop_map(Reply::Set),
                prop::collection::vec((inner.clone(), inner.clone()), 0..3).prop_map(Reply::Map),
            ]
        })
    }

    /// What a RESP2 client sees of a reply.
    fn in_resp2(reply: Reply) -> Reply {
        let all = |items: Vec<Reply>| Reply::Array(items.into_iter().map(in_resp2).collect());
        match reply {
            Reply::Array(items) | Reply::Set(items) => all(items),
            Reply::Map(pairs) => all(pairs
                .into_iter()
                .flat_map(|(key, value)| [key, value])
                .collect()),
            Reply::Verbatim(text) => Reply::Bulk(text),
            Reply::Bool(truth) => Reply::Integer(truth.into()),
            Reply::Double(_) => {
                let mut out = BytesMut::new();
                reply.write(Protocol::Resp3, &mut out);
                let out_end = out.len() - 2;
                Reply::Bulk(out.freeze().slice(1..out_end))
            }
            other => other,
        }
    }

    proptest! {
        #[test]
        fn written_replies_are_read_back(all in prop::collection::vec(replies(), 0..5), piece in 1usize..40) {
            // Lost without it: what the node writes and what our clients read could drift apart.
            let mut out = BytesMut::new();
            all.iter().for_each(|reply| reply.write(Protocol::Resp3, &mut out));
            prop_assert_eq!(parse(&out, piece, ReplyLimits::default()), (all.clone(), None));
            out.clear();
            all.iter().for_each(|reply| reply.write(Protocol::Resp2, &mut out));
            let seen = all.into_iter().map(in_resp2).collect();
            prop_assert_eq!(parse(&out, piece, ReplyLimits::default()), (seen, None));
        }

        #[test]
        fn any_bytes_are_survived(
            pieces in prop::collection::vec(
                prop::sample::select(vec!["*", "%", "~", "$", "=", "1", "2", "0", "-1", "\r\n", "\r", "+a", "x", ":3"]), 0..30)
        ) {
            // Lost without it: a server's bytes could end a client, or mean another thing when cut elsewhere.
            let input = pieces.concat();
            let whole = parse(input.as_bytes(), input.len(), small());
            prop_assert_eq!(parse(input.as_bytes(), 1, small()), whole);
        }
    }
}
