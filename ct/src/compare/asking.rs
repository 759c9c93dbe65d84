//! This file answers: how do many connections ask at once, the same way on both sides?

use anyhow::{Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that sends what was encoded before, and looks at replies no more than it must.
pub struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to a port of this machine.
    pub async fn open(port: u16) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            received: Vec::with_capacity(4096),
        })
    }

    /// Sends commands in one write and awaits as many replies; the last one. An error among them is an error.
    pub async fn ask(&mut self, commands: &[u8], count: usize) -> Result<Vec<u8>> {
        self.stream.write_all(commands).await?;
        let mut last = Vec::new();
        for _ in 0..count {
            let end = loop {
                match reply_end(&self.received)? {
                    Some(end) => break end,
                    None => {
                        let read = self.stream.read_buf(&mut self.received).await?;
                        ensure!(read > 0, "the server closed");
                    }
                }
            };
            last.clear();
            last.extend(self.received.drain(..end));
            if last.starts_with(b"-") {
                bail!("{}", String::from_utf8_lossy(&last).trim_end());
            }
        }
        Ok(last)
    }
}

/// A command as clients send it.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Where the first reply ends; none while it is not whole. Of the kinds that SET, GET and WAIT give.
fn reply_end(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..line])?;
    let end = match text.split_at_checked(1) {
        Some(("+" | "-" | ":", _)) => line + 2,
        Some(("$", "-1")) => line + 2,
        Some(("$", length)) => line + 2 + length.parse::<usize>()? + 2,
        _ => bail!("not a reply: {text:?}"),
    };
    Ok((end <= bytes.len()).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_it_ends() {
        // Without this a value that holds a line end is two replies, and every count after it is wrong.
        for (bytes, end) in [
            (&b"+OK\r\n:1\r\n"[..], Some(5)),
            (b":1\r\n", Some(4)),
            (b"$-1\r\n", Some(5)),
            (b"$4\r\na\r\nb\r\n+OK\r\n", Some(10)),
            (b"$4\r\na\r\n", None),
            (b"+O", None),
            (b"", None),
        ] {
            assert_eq!(reply_end(bytes).expect("a reply"), end, "{bytes:?}");
        }
        assert!(reply_end(b"*1\r\n").is_err());
        assert_eq!(command(&["GET", "k"]), b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
