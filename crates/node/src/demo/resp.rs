//! This file answers: how does the demo talk to a node as any Redis client would?

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long a reply may take: longer than a request may.
const REPLY_WITHIN: Duration = Duration::from_secs(8);

/// A connection to a Redis listener, RESP2.
#[derive(Debug)]
pub(super) struct Redis(BufReader<TcpStream>);

/// What a Redis listener replies.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// `+OK` and the like.
    Status(String),
    /// An error, its first word first.
    Error(String),
    /// A number.
    Number(i64),
    /// A value, or none.
    Bulk(Option<Vec<u8>>),
    /// Several of these.
    List(Vec<Reply>),
}

impl Redis {
    /// Connects to `address`.
    pub(super) fn connect(address: &str) -> io::Result<Redis> {
        let address = address
            .to_socket_addrs()?
            .next()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&address, CONNECT_WITHIN)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_WITHIN))?;
        stream.set_write_timeout(Some(REPLY_WITHIN))?;
        Ok(Redis(BufReader::new(stream)))
    }

    /// One command and its reply.
    pub(super) fn command(&mut self, words: &[&str]) -> io::Result<Reply> {
        let mut replies = self.pipeline(&[words])?;
        replies
            .pop()
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Several commands in one write, and their replies.
    pub(super) fn pipeline(&mut self, commands: &[&[&str]]) -> io::Result<Vec<Reply>> {
        let mut bytes = Vec::new();
        for words in commands {
            write!(bytes, "*{}\r\n", words.len())?;
            for word in *words {
                write!(bytes, "${}\r\n{word}\r\n", word.len())?;
            }
        }
        self.0.get_mut().write_all(&bytes)?;
        commands.iter().map(|_| read(&mut self.0)).collect()
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line
        .strip_suffix("\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let number = || {
        line.get(1..)
            .and_then(|it| it.parse::<i64>().ok())
            .ok_or(io::ErrorKind::InvalidData)
    };
    Ok(match line.chars().next() {
        Some('+') => Reply::Status(line[1..].to_owned()),
        Some('-') => Reply::Error(line[1..].to_owned()),
        Some(':') => Reply::Number(number()?),
        Some('$') => match usize::try_from(number()?) {
            Ok(length) => {
                let mut value = vec![0; length + 2];
                from.read_exact(&mut value)?;
                value.truncate(length);
                Reply::Bulk(Some(value))
            }
            Err(_) => Reply::Bulk(None),
        },
        Some('*') => (0..number()?)
            .map(|_| read(from))
            .collect::<io::Result<_>>()
            .map(Reply::List)?,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    })
}

impl Reply {
    /// The text of a value, if it is one.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Reply::Bulk(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Reply::Status(text) => Some(text.clone()),
            Reply::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Whether it is `OK`.
    pub(super) fn is_ok(&self) -> bool {
        *self == Reply::Status("OK".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: the demo would misread a node and call it broken, or whole.
    #[test]
    fn replies_are_read() {
        let mut bytes =
            &b"+OK\r\n-TRYAGAIN later\r\n:-3\r\n$2\r\n\r\n\r\n$-1\r\n*2\r\n$1\r\na\r\n*0\r\n"[..];
        let replies: Vec<Reply> = (0..6).map(|_| read(&mut bytes).unwrap()).collect();
        let bulk = |bytes: &[u8]| Reply::Bulk(Some(bytes.to_vec()));
        assert_eq!(
            replies,
            [
                Reply::Status("OK".into()),
                Reply::Error("TRYAGAIN later".into()),
                Reply::Number(-3),
                bulk(b"\r\n"),
                Reply::Bulk(None),
                Reply::List(vec![bulk(b"a"), Reply::List(vec![])]),
            ]
        );
        assert!(read(&mut bytes).is_err());
    }
}
