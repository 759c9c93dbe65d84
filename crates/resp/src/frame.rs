//! This file answers: which requests do the received bytes hold?
//!
//! A request is an array of bulk strings, or an inline line as people type it. Empty lines and empty arrays are none.
//! The parser keeps its place between reads, so a large value that comes in many pieces costs each byte once.
//!
//! **Arguments are slices** of the receive buffer: nothing is copied on the way to the store. The price: a slice keeps
//! the whole allocation alive that it was read into (a 16 byte value may hold 64 KiB). So whoever keeps an argument
//! beyond its request decides: [`detach`] copies, which is right unless the argument is most of what was read.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use smallvec::SmallVec;
use thiserror::Error;

use crate::{inline, integer};

/// The arguments of a request, the command's name first. Five fit without the heap: `SET key value EX 10`.
pub type Args = SmallVec<[Bytes; 5]>;

/// One request as it came, with at least one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The command's name and what follows it: slices of the receive buffer.
    pub args: Args,
}

/// What a connection may send. Beyond it the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request.
    pub max_args: usize,
    /// Bytes of one argument. Above the largest value that is stored, so that a value which is a little too large gets
    /// the store's own error and keeps its connection.
    pub max_bulk: usize,
    /// Bytes of an inline line.
    pub max_inline: usize,
    /// Bytes of one request in all; at most 4 GiB.
    pub max_request_bytes: usize,
}

impl Limits {
    /// What Redis grants a connection that has yet to prove itself: enough for HELLO and AUTH.
    pub const UNAUTHENTICATED: Limits = Limits {
        max_args: 10,
        max_bulk: 16384,
        max_inline: 16384,
        max_request_bytes: 65536,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_args: 1 << 20,
            max_bulk: 16 << 20,
            max_inline: 64 << 10,
            max_request_bytes: 64 << 20,
        }
    }
}

/// Bytes that are no request. The connection gets [`ProtocolError::reply`] and ends: its place in the stream is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A count of arguments that is no number, or above the limit.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// A length of an argument that is no number, negative, above the limit, or not that of what follows.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An argument that is no bulk string.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// A line too long, or with too many words.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// The sum of the arguments is above the limit.
    #[error("Protocol error: too big mbulk request")]
    TooBigRequest,
    /// A line with a quote that does not close, or closes inside a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A line that looks like HTTP: a web page that was made to talk to this port, as Redis guards against.
    #[error("Protocol error: HTTP is not spoken here")]
    Http,
}

impl ProtocolError {
    /// What the client is told before its connection ends.
    pub fn reply(self) -> crate::Reply {
        crate::Reply::error(format!("ERR {self}"))
    }
}

fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}

/// Finds requests in a buffer that only grows at its end.
#[derive(Debug)]
pub struct RequestParser {
    limits: Limits,
    /// How much of the front of the buffer is understood of the request in progress.
    at: usize,
    /// How far the end of the line that begins at `at` has been looked for.
    searched: usize,
    state: State,
    /// Start and length of each argument so far: grows with what came, never with what was claimed.
    arguments: SmallVec<[(u32, u32); 5]>,
    failed: Option<ProtocolError>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Between requests.
    Start,
    /// At the header of an argument; so many are to come, this one among them.
    Header { left: usize },
    /// In an argument of this length.
    Body { left: usize, length: usize },
}

/// A line with its length claim takes `*` or `$`, 20 digits and the line end.
const MAX_LENGTH_LINE: usize = 32;

impl RequestParser {
    /// A parser for one connection.
    pub fn new(limits: Limits) -> RequestParser {
        RequestParser {
            limits: bounded(limits),
            at: 0,
            searched: 0,
            state: State::Start,
            arguments: SmallVec::new(),
            failed: None,
        }
    }

    /// Other limits from here on: when a client has proved itself. What it pipelined behind its AUTH is parsed only
    /// after AUTH was carried out, else it would meet the limits of before.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = bounded(limits);
    }

    /// The next request in `buffer`, which is taken from its front; none until more has come.
    ///
    /// Between calls the buffer may only grow at its end. After an error every call gives that error.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.advance(buffer);
        self.failed = result.as_ref().err().copied();
        result
    }

    /// At least so many bytes are missing in `buffer` before the argument in progress is complete; 0 when unknown.
    ///
    /// A claim of the client's: a reader may size its next read by it, bounded by what it is ready to lose.
    pub fn missing(&self, buffer: &BytesMut) -> usize {
        match self.state {
            State::Body { length, .. } => (self.at + length + 2).saturating_sub(buffer.len()),
            _ => 0,
        }
    }

    fn advance(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        loop {
            let is_complete = match self.state {
                State::Start => match buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => self.count(buffer)?,
                    Some(_) => match self.inline(buffer)? {
                        Some(request) if request.args.is_empty() => true,
                        other => return Ok(other),
                    },
                },
                State::Header { left } => self.header(buffer, left)?,
                State::Body { left, length } => match self.body(buffer, left, length)? {
                    true if left == 1 => return Ok(Some(self.complete(buffer))),
                    taken => taken,
                },
            };
            if !is_complete {
                return Ok(None);
            }
        }
    }

    /// `*3\r\n`. False: more must come first, here and below.
    fn count(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(count) = self.length_line(buffer, ProtocolError::InvalidMultibulkLength)? else {
            return Ok(false);
        };
        if count <= 0 {
            buffer.advance(self.at);
            self.restart();
            return Ok(true);
        }
        match usize::try_from(count) {
            Ok(left) if left <= self.limits.max_args => self.state = State::Header { left },
            _ => return Err(ProtocolError::InvalidMultibulkLength),
        }
        Ok(true)
    }

    /// `$5\r\n`
    fn header(&mut self, buffer: &[u8], left: usize) -> Result<bool, ProtocolError> {
        match buffer.get(self.at) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedBulk(other)),
        }
        let Some(length) = self.length_line(buffer, ProtocolError::InvalidBulkLength)? else {
            return Ok(false);
        };
        let length = match usize::try_from(length) {
            Ok(length) if length <= self.limits.max_bulk => length,
            _ => return Err(ProtocolError::InvalidBulkLength),
        };
        if self.at + length + 2 > self.limits.max_request_bytes {
            return Err(ProtocolError::TooBigRequest);
        }
        self.state = State::Body { left, length };
        Ok(true)
    }

    /// The argument and its line end. Redis does not look at the line end; but when it is none the length was wrong,
    /// and what follows would be read as commands that nobody sent.
    fn body(&mut self, buffer: &[u8], left: usize, length: usize) -> Result<bool, ProtocolError> {
        let end = self.at + length;
        let Some(line_end) = buffer.get(end..end + 2) else {
            return Ok(false);
        };
        if line_end != b"\r\n" {
            return Err(ProtocolError::InvalidBulkLength);
        }
        let range = (u32::try_from(self.at), u32::try_from(length));
        let (Ok(start), Ok(length)) = range else {
            return Err(ProtocolError::TooBigRequest);
        };
        self.arguments.push((start, length));
        self.at = end + 2;
        self.searched = self.at;
        self.state = State::Header { left: left - 1 };
        Ok(true)
    }

    fn complete(&mut self, buffer: &mut BytesMut) -> Request {
        let frame = buffer.split_to(self.at).freeze();
        let slice = |&(start, length): &(u32, u32)| {
            let start = start as usize;
            frame.slice(start..start + length as usize)
        };
        let args = self.arguments.iter().map(slice).collect();
        self.restart();
        Request { args }
    }

    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let found = memchr(b'\n', &buffer[self.searched..]).map(|i| self.searched + i);
        let length = found.unwrap_or(buffer.len());
        if length > self.limits.max_inline {
            return Err(ProtocolError::TooBigInline);
        }
        let Some(end) = found else {
            self.searched = buffer.len();
            return Ok(None);
        };
        let line = buffer.split_to(end + 1).freeze();
        self.restart();
        let trimmed = line[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len);
        let args = inline::words(&line.slice(..trimmed), self.limits.max_args)?;
        let is_http = |name: &Bytes| {
            name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
        };
        match args.first() {
            Some(name) if is_http(name) => Err(ProtocolError::Http),
            _ => Ok(Some(Request { args })),
        }
    }

    /// The number behind the type byte at `at`; moves behind its line.
    fn length_line(
        &mut self,
        buffer: &[u8],
        error: ProtocolError,
    ) -> Result<Option<i64>, ProtocolError> {
        if let Some((number, bytes)) = short_line(&buffer[self.at..]) {
            self.at += bytes;
            self.searched = self.at;
            return Ok(Some(number));
        }
        let from = self.searched.max(self.at);
        let found = memchr(b'\r', &buffer[from..]).map(|i| from + i);
        let end = found.unwrap_or(buffer.len());
        if end - self.at > MAX_LENGTH_LINE {
            return Err(error);
        }
        self.searched = end;
        match (found, buffer.get(end + 1)) {
            (Some(_), Some(b'\n')) => {}
            (Some(_), Some(_)) => return Err(error),
            _ => return Ok(None),
        }
        let number = integer::parse(&buffer[self.at + 1..end]).ok_or(error)?;
        self.at = end + 2;
        self.searched = self.at;
        Ok(Some(number))
    }

    fn restart(&mut self) {
        self.at = 0;
        self.searched = 0;
        self.state = State::Start;
        // a request of many arguments shall not leave its memory with an idle connection
        self.arguments = SmallVec::new();
    }
}

/// The number of a line of up to three digits, as most have, and what the line takes, type byte and end included.
fn short_line(line: &[u8]) -> Option<(i64, usize)> {
    let number = |digits: &[u8]| {
        let digits = digits.iter().map(|digit| i64::from(digit - b'0'));
        digits.fold(0, |number, digit| 10 * number + digit)
    };
    match line {
        [_, digits @ b'0'..=b'9', b'\r', b'\n', ..] => Some((number(&[*digits]), 4)),
        [_, a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..] => Some((number(&[*a, *b]), 5)),
        [
            _,
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            b'\r',
            b'\n',
            ..,
        ] => Some((number(&[*a, *b, *c]), 6)),
        _ => None,
    }
}

fn bounded(limits: Limits) -> Limits {
    Limits {
        max_request_bytes: limits.max_request_bytes.min(u32::MAX as usize),
        ..limits
    }
}

/// A copy that keeps nothing else alive.
pub fn detach(argument: &Bytes) -> Bytes {
    Bytes::copy_from_slice(argument)
}

/// Writes one request as clients do: an array of bulk strings.
pub fn write_request<A: AsRef<[u8]>>(args: &[A], out: &mut BytesMut) {
    crate::reply::write_length(b'*', args.len(), out);
    for arg in args {
        crate::reply::write_bulk(arg.as_ref(), out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

    /// All requests of `input` when it comes in pieces that end at `cuts`.
    fn parse_in_pieces(input: &[u8], cuts: &[usize], limits: Limits) -> Outcome {
        let mut parser = RequestParser::new(limits);
        let mut buffer = BytesMut::new();
        let mut requests = Vec::new();
        let mut start = 0;
        for &end in cuts.iter().chain([&input.len()]) {
            buffer.extend_from_slice(&input[start..end]);
            start = end;
            loop {
                match parser.next(&mut buffer) {
                    Ok(Some(request)) => {
                        requests.push(request.args.iter().map(|a| a.to_vec()).collect())
                    }
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(parser.next(&mut buffer), Err(error), "an error stays");
                        return (requests, Some(error));
                    }
                }
            }
        }
        (requests, None)
    }

    fn parse(input: &[u8]) -> Outcome {
        parse_in_pieces(input, &[], Limits::default())
    }

    fn small() -> Limits {
        Limits {
            max_args: 4,
            max_bulk: 8,
            max_inline: 16,
            max_request_bytes: 48,
        }
    }

    #[test]
    fn requests_in_all_their_forms() {
        // Lost without it: a pipeline, redis-cli --pipe's empty lines or telnet would not be understood.
        let input = b"\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nSET b 'c d'\n\r\n*0\r\n*-1\r\n*1\r\n$0\r\n\r\n  \r\n*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\x00\xff\r\n";
        let (requests, error) = parse(input);
        assert_eq!(error, None);
        let expected: Vec<Vec<&[u8]>> = vec![
            vec![b"GET", b"a"],
            vec![b"SET", b"b", b"c d"],
            vec![b""],
            vec![b"ECHO", b"\r\n\x00\xff"],
        ];
        assert_eq!(requests, expected);
    }

    #[test]
    fn protocol_errors_say_what_redis_says() {
        // Lost without it: clients and test suites that match the text, and connections that go on after a bad frame.
        let table: [(&[u8], &str); 17] = [
            (b"*1\r\n:3\r\n", "expected '$', got ':'"),
            (b"*1\r\n\r\n$4\r\nPING\r\n", "expected '$', got ' '"),
            (b"*x\r\n", "invalid multibulk length"),
            (b"*\r\nPING\r\n", "invalid multibulk length"),
            (b"*+1\r\n$4\r\nPING\r\n", "invalid multibulk length"),
            (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
            (b"*1\n$4\nPING\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n$\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$600000000\r\n", "invalid bulk length"),
            (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
            (b"*1\r\n$4\r\nPINGxx", "invalid bulk length"),
            (b"set a \"b\r\n", "unbalanced quotes in request"),
            (b"POST / HTTP/1.1\r\n", "HTTP is not spoken here"),
        ];
        for (input, expected) in table {
            let error = parse(input).1.expect("an error");
            assert_eq!(error.to_string(), format!("Protocol error: {expected}"));
        }
        let long = vec![b'a'; 70_000];
        assert_eq!(parse(&long).1, Some(ProtocolError::TooBigInline));
        assert_eq!(
            parse(&[b"*", &b"1".repeat(70)[..]].concat()).1,
            Some(ProtocolError::InvalidMultibulkLength)
        );
        assert_eq!(
            ProtocolError::InvalidBulkLength.reply(),
            crate::Reply::error("ERR Protocol error: invalid bulk length")
        );
    }

    #[test]
    fn limits_hold_at_their_edge() {
        // Lost without it: one connection could take the node's memory.
        let none: (&[u8], Option<ProtocolError>) = (
            b"*4\r\n$1\r\na\r\n$1\r\na\r\n$1\r\na\r\n$8\r\n12345678\r\n",
            None,
        );
        let table: [(&[u8], Option<ProtocolError>); 6] = [
            none,
            (b"*5\r\n", Some(ProtocolError::InvalidMultibulkLength)),
            (b"*1\r\n$9\r\n", Some(ProtocolError::InvalidBulkLength)),
            (b"1234567890123456", None),
            (b"12345678901234567", Some(ProtocolError::TooBigInline)),
            (
                b"*4\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$8\r\n",
                Some(ProtocolError::TooBigRequest),
            ),
        ];
        for (input, expected) in table {
            assert_eq!(
                parse_in_pieces(input, &[], small()).1,
                expected,
                "{:?}",
                String::from_utf8_lossy(input)
            );
        }
    }

    #[test]
    fn claims_take_no_memory() {
        // Lost without it: a few bytes that claim a million arguments would allocate for them.
        let mut parser = RequestParser::new(Limits::default());
        let mut buffer = BytesMut::from(&b"*1000000\r\n$16000000\r\nabc"[..]);
        assert_eq!(parser.next(&mut buffer), Ok(None));
        assert_eq!(parser.arguments.capacity(), 5);
        assert_eq!(parser.missing(&buffer), 16_000_000 + 2 - 3);
    }

    #[test]
    fn a_large_value_in_pieces_is_read_once() {
        // Lost without it: an 8 MiB value in 64 KiB reads would be searched from its start at every read.
        let value = vec![b'\n'; 8 << 20];
        let mut input = BytesMut::new();
        write_request(&[&b"SET"[..], b"key", &value], &mut input);
        let mut parser = RequestParser::new(Limits::default());
        let mut buffer = BytesMut::new();
        let mut found = None;
        for piece in input.chunks(64 << 10) {
            assert!(found.is_none());
            buffer.extend_from_slice(piece);
            found = parser.next(&mut buffer).unwrap();
            if found.is_none() {
                assert!(
                    buffer.len() - parser.at <= value.len() + 2 && parser.searched <= parser.at
                );
            }
        }
        assert_eq!(found.unwrap().args[2], value);
        assert!(buffer.is_empty());
    }

    #[test]
    fn arguments_are_slices() {
        // Lost without it: each value would be copied once more on its way to the store.
        let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$5\r\nabcde\r\n"[..]);
        let place = buffer.as_ptr() as usize;
        let request = RequestParser::new(Limits::default())
            .next(&mut buffer)
            .unwrap()
            .unwrap();
        assert_eq!(request.args[1].as_ptr() as usize, place + 17);
        assert_ne!(detach(&request.args[1]).as_ptr(), request.args[1].as_ptr());
    }

    /// Bytes that are near to requests, so that random ones get far into the parser.
    fn near_requests() -> impl Strategy<Value = Vec<u8>> {
        let pieces: Vec<&'static [u8]> = vec![
            b"*",
            b"$",
            b"1",
            b"2",
            b"3",
            b"0",
            b"-",
            b"\r\n",
            b"\r",
            b"\n",
            b"a",
            b"\"",
            b"'",
            b"\\",
            b" ",
            b"\0",
            b"*1\r\n$4\r\nPING\r\n",
            b"*2\r\n",
            b"$1\r\na\r\n",
            b"$0\r\n\r\n",
            b"get a\r\n",
            b"\\x41",
            b"\xff",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..24)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(input in near_requests(), seed in prop::collection::vec(0usize..1000, 0..6)) {
            // Lost without it: what a client means would depend on how the network cut its bytes.
            let whole = parse_in_pieces(&input, &[], small());
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&parse_in_pieces(&input, &every, small()), &whole);
            let mut cuts: Vec<usize> = seed.iter().map(|cut| cut % (input.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(&parse_in_pieces(&input, &cuts, small()), &whole);
        }

        #[test]
        fn written_requests_are_read_back(
            requests in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..9), 0..9)
        ) {
            // Lost without it: a binary key or value could be changed between a client and the node.
            let mut input = BytesMut::new();
            for request in &requests {
                write_request(request, &mut input);
            }
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(parse_in_pieces(&input, &every, Limits::default()), (requests, None));
        }

        #[test]
        fn any_bytes_are_survived(input in prop::collection::vec(any::<u8>(), 0..200)) {
            // Lost without it: a stranger's bytes could end the node.
            let whole = parse_in_pieces(&input, &[], Limits::default());
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(parse_in_pieces(&input, &every, Limits::default()), whole);
        }
    }
}
