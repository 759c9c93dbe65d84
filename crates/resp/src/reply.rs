//! This file answers: which bytes is a reply, in RESP2 or in RESP3?
//!
//! What RESP2 has no type for becomes what Redis makes of it: a map a flat array of twice its length, a set an array,
//! a double and a verbatim text a bulk string, a boolean 0 or 1.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

/// The protocol that a connection has agreed on; RESP2 until HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Protocol {
    /// Five types.
    #[default]
    Resp2,
    /// More types.
    Resp3,
}

impl Protocol {
    /// 2 or 3, as HELLO tells it.
    pub fn number(self) -> i64 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A short text of one line: `+OK`. Line ends in it are sent as spaces.
    Simple(Cow<'static, str>),
    /// A failure, its code first: `-ERR syntax error`. Line ends in it are sent as spaces.
    Error(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// Any bytes.
    Bulk(Bytes),
    /// Nothing there.
    Null,
    /// Replies in order.
    Array(Vec<Reply>),
    /// Pairs, in the order in which they are sent.
    Map(Vec<(Reply, Reply)>),
    /// Replies without an order.
    Set(Vec<Reply>),
    /// A number that may have a fraction.
    Double(f64),
    /// A text for people, such as INFO's.
    Verbatim(Bytes),
    /// Yes or no.
    Bool(bool),
    /// Bytes that [`Reply::write`] made before, in the protocol in which this leaves.
    Written(Bytes),
}

impl Reply {
    /// `+OK`
    pub const OK: Reply = Reply::Simple(Cow::Borrowed("OK"));
    /// `+PONG`
    pub const PONG: Reply = Reply::Simple(Cow::Borrowed("PONG"));
    /// `*0`
    pub const EMPTY: Reply = Reply::Array(Vec::new());

    /// A short text of one line.
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Simple(text.into())
    }

    /// A failure; the text begins with its code.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Error(text.into())
    }

    /// Any bytes, or a text.
    pub fn bulk(bytes: impl Into<Bytes>) -> Reply {
        Reply::Bulk(bytes.into())
    }

    /// An array of texts.
    pub fn bulks<T: Into<Bytes>>(texts: impl IntoIterator<Item = T>) -> Reply {
        Reply::Array(texts.into_iter().map(Reply::bulk).collect())
    }

    /// Appends the reply's bytes to `out`.
    ///
    /// Bodies are copied. A carrier that would rather send a large [`Reply::Bulk`] from where it lies writes
    /// [`write_length`]`(b'$', ..)`, hands the body to its vectored write, and ends it with `\r\n`.
    pub fn write(&self, protocol: Protocol, out: &mut BytesMut) {
        let is_resp3 = protocol == Protocol::Resp3;
        match self {
            Reply::Simple(text) if text == "OK" => out.put_slice(b"+OK\r\n"),
            Reply::Simple(text) => write_line(b'+', text, out),
            Reply::Error(text) => write_line(b'-', text, out),
            Reply::Integer(number) => write_number(b':', *number, out),
            Reply::Bulk(bytes) => write_bulk(bytes, out),
            Reply::Null if is_resp3 => out.put_slice(b"_\r\n"),
            Reply::Null => out.put_slice(b"$-1\r\n"),
            Reply::Array(items) => write_items(b'*', items, protocol, out),
            Reply::Set(items) => {
                write_items(if is_resp3 { b'~' } else { b'*' }, items, protocol, out)
            }
            Reply::Map(pairs) => {
                match protocol {
                    Protocol::Resp2 => write_length(b'*', pairs.len() * 2, out),
                    Protocol::Resp3 => write_length(b'%', pairs.len(), out),
                }
                for (key, value) in pairs {
                    key.write(protocol, out);
                    value.write(protocol, out);
                }
            }
            Reply::Double(number) if is_resp3 => write_line(b',', &double(*number), out),
            Reply::Double(number) => write_bulk(double(*number).as_bytes(), out),
            Reply::Verbatim(text) if is_resp3 => {
                write_length(b'=', text.len() + VERBATIM_FORMAT.len(), out);
                out.put_slice(VERBATIM_FORMAT);
                out.put_slice(text);
                out.put_slice(b"\r\n");
            }
            Reply::Verbatim(text) => write_bulk(text, out),
            Reply::Bool(truth) if is_resp3 => {
                out.put_slice(if *truth { b"#t\r\n" } else { b"#f\r\n" })
            }
            Reply::Bool(truth) => write_number(b':', i64::from(*truth), out),
            Reply::Written(bytes) => out.put_slice(bytes),
        }
    }
}

/// What stands before a verbatim text: plain text.
pub(crate) const VERBATIM_FORMAT: &[u8] = b"txt:";

/// Writes a header with a length: `*3`, `$5`.
pub fn write_length(kind: u8, length: usize, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(length).as_bytes());
    out.put_slice(b"\r\n");
}

/// Writes a bulk string.
pub fn write_bulk(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(bytes.len() + 32);
    write_length(b'$', bytes.len(), out);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

fn write_number(kind: u8, number: i64, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\r\n");
}

/// A line end inside would let a text that came from a client pose as replies of its own.
fn write_line(kind: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(kind);
    if memchr::memchr2(b'\r', b'\n', text.as_bytes()).is_none() {
        out.put_slice(text.as_bytes());
    } else {
        out.put_slice(text.replace(['\r', '\n'], " ").as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn write_items(kind: u8, items: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    write_length(kind, items.len(), out);
    for item in items {
        item.write(protocol, out);
    }
}

/// The shortest text that reads back the same; with an exponent where it would be long without.
fn double(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        "nan".to_owned()
    } else if size.is_infinite() || size == 0.0 || (1e-5..1e17).contains(&size) {
        number.to_string()
    } else {
        format!("{number:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply.write(protocol, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_type_in_both_protocols() {
        // Lost without it: a client would take a reply for another type, or lose its place in the stream.
        let pairs = vec![
            (Reply::bulk("proto"), Reply::Integer(3)),
            (Reply::bulk("modules"), Reply::EMPTY),
        ];
        let table = [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::PONG, "+PONG\r\n", "+PONG\r\n"),
            (Reply::simple("a\r\nb"), "+a  b\r\n", "+a  b\r\n"),
            (
                Reply::error("ERR a\n+OK"),
                "-ERR a +OK\r\n",
                "-ERR a +OK\r\n",
            ),
            (
                Reply::Integer(i64::MIN),
                ":-9223372036854775808\r\n",
                ":-9223372036854775808\r\n",
            ),
            (Reply::bulk("a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (Reply::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::EMPTY, "*0\r\n", "*0\r\n"),
            (
                Reply::bulks(["a", "b"]),
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
                "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            ),
            (
                Reply::Map(pairs),
                "*4\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
                "%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*0\r\n",
            ),
            (
                Reply::Set(vec![Reply::Null]),
                "*1\r\n$-1\r\n",
                "~1\r\n_\r\n",
            ),
            (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (Reply::Double(3.0), "$1\r\n3\r\n", ",3\r\n"),
            (Reply::Double(1e300), "$5\r\n1e300\r\n", ",1e300\r\n"),
            (
                Reply::Double(f64::NEG_INFINITY),
                "$4\r\n-inf\r\n",
                ",-inf\r\n",
            ),
            (Reply::Double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
            (
                Reply::Verbatim("a:1\r\n".into()),
                "$5\r\na:1\r\n\r\n",
                "=9\r\ntxt:a:1\r\n\r\n",
            ),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Bool(false), ":0\r\n", "#f\r\n"),
        ];
        for (reply, resp2, resp3) in table {
            assert_eq!(written(&reply, Protocol::Resp2), resp2);
            assert_eq!(written(&reply, Protocol::Resp3), resp3);
        }
    }
}
