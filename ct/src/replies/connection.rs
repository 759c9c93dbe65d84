//! This file answers: which bytes is a reply, as they came?

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

use crate::processes::PATIENCE;

/// What a connection agrees on before its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a protocol")]
pub enum Protocol {
    Resp2,
    Resp3,
}

/// A connection that keeps replies as they came.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port of this machine, proves itself if a password is wanted, and agrees on the protocol.
    pub fn open(port: u16, protocol: Protocol, password: Option<&str>) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Connection {
            reader: BufReader::new(stream),
        };
        if protocol == Protocol::Resp3 {
            let auth = password.map(|word| format!(" AUTH default {word}"));
            let hello = format!("HELLO 3{}\r\n", auth.unwrap_or_default());
            let reply = connection.say(hello.as_bytes())?;
            ensure!(reply.starts_with(b"%"), "HELLO 3 is refused");
        }
        Ok(connection)
    }

    /// Sends bytes and reads one reply; empty when the other side closed instead.
    pub fn say(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut reply = Vec::new();
        if self.reader.get_mut().write_all(bytes).is_ok() {
            self.read(&mut reply)?;
        }
        Ok(reply)
    }

    fn read(&mut self, reply: &mut Vec<u8>) -> Result<()> {
        let begun = reply.len();
        if self.reader.read_until(b'\n', reply).unwrap_or(0) == 0 {
            return Ok(());
        }
        let line = std::str::from_utf8(&reply[begun..])?.trim_end();
        let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
        let length = || {
            rest.parse::<i64>()
                .with_context(|| format!("{rest} is no length"))
        };
        match kind {
            "+" | "-" | ":" | "," | "#" | "_" | "(" => Ok(()),
            "$" | "=" | "!" => match u64::try_from(length()?) {
                Ok(bytes) => {
                    let read = (&mut self.reader).take(bytes + 2).read_to_end(reply)?;
                    ensure!(read as u64 == bytes + 2, "a reply is cut short");
                    Ok(())
                }
                Err(_) => Ok(()),
            },
            "*" | "~" | ">" => self.read_items(length()?, reply),
            "%" => self.read_items(length()? * 2, reply),
            _ => bail!("not a reply: {line}"),
        }
    }

    fn read_items(&mut self, count: i64, reply: &mut Vec<u8>) -> Result<()> {
        (0..count).try_for_each(|_| self.read(reply))
    }
}
