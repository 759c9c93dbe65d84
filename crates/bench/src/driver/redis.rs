//! This file answers: how are SETs and GETs sent over the Redis protocol, many in one write?
//!
//! RESP2. A connection that breaks is made anew at the next address; what was under way on it has failed.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rkv_resp::frame::write_request;
use rkv_resp::{Reply, ReplyLimits, ReplyParser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{Answer, Call, Failed};
use crate::plan::{BenchError, Plan};

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long a worker waits when it cannot connect: a target that is gone is not asked a million times.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// How much room there is for what a socket has. More is found as it is needed.
const READ_BYTES: usize = 16 << 10;
/// A buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// Redis listeners, and what they want to hear.
#[derive(Debug, Clone)]
pub(crate) struct Doors {
    addresses: Vec<String>,
    password: Option<String>,
    timeout: Duration,
}

impl Doors {
    pub(crate) fn new(plan: &Plan, addresses: &[String]) -> Doors {
        Doors {
            addresses: addresses.to_vec(),
            password: plan.secret.clone(),
            timeout: plan.timeout,
        }
    }

    /// The worker's address is the one of its number; it has to be there now.
    pub(crate) async fn connection(&self, worker: usize) -> Result<RedisConnection, BenchError> {
        let mut connection = RedisConnection {
            doors: self.clone(),
            at: worker,
            stream: None,
            out: BytesMut::new(),
            input: BytesMut::new(),
            parser: ReplyParser::new(ReplyLimits::default()),
        };
        let connected = connection.connect().await;
        connected.map_err(|failed| match failed.kind.as_ref() {
            UNREACHABLE => BenchError::Unreachable(failed.message),
            _ => BenchError::Failed(failed.message),
        })?;
        Ok(connection)
    }

    /// `rkv 0.1.0` or `redis 7.0.15`, from INFO.
    pub(crate) async fn version(&self) -> Option<String> {
        let mut connection = self.connection(0).await.ok()?;
        let asked = connection.ask(&[b"INFO", b"server"]);
        let Ok(Ok(Reply::Bulk(text) | Reply::Verbatim(text))) = timeout(self.timeout, asked).await
        else {
            return None;
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        ["rkv", "redis"].into_iter().find_map(|name| {
            let field = format!("{name}_version:");
            let version = text.lines().find_map(|line| line.strip_prefix(&field))?;
            Some(format!("{name} {version}"))
        })
    }
}

const UNREACHABLE: &str = "unreachable";
const LOST: &str = "connection_lost";

/// One worker's connection.
#[derive(Debug)]
pub(crate) struct RedisConnection {
    doors: Doors,
    /// Which of the addresses, counted round.
    at: usize,
    stream: Option<TcpStream>,
    out: BytesMut,
    input: BytesMut,
    parser: ReplyParser,
}

impl RedisConnection {
    /// Sends them in one write.
    pub(crate) async fn send(&mut self, calls: &[Call]) -> Result<(), Failed> {
        if self.stream.is_none() {
            self.connect().await?;
        }
        self.out.clear();
        for call in calls {
            encode(call, &mut self.out);
        }
        self.write().await
    }

    /// The next reply, which is to `call`.
    pub(crate) async fn answer(&mut self, call: &Call) -> Result<Answer, Failed> {
        let reply = self.reply().await?;
        match (&call.put, reply) {
            (_, Reply::Error(text)) => {
                let kind = text.split(' ').next().unwrap_or_default().to_owned();
                Err(Failed::new(kind, text))
            }
            (Some(_), Reply::Simple(_)) => Ok(Answer::Put),
            (None, Reply::Bulk(value)) => Ok(Answer::Got(Some(value))),
            (None, Reply::Null) => Ok(Answer::Got(None)),
            (_, other) => {
                self.give_up();
                let message = format!("a reply to another question: {other:?}");
                Err(Failed::new("protocol", message))
            }
        }
    }

    /// Closes it, and with it what is under way.
    pub(crate) fn give_up(&mut self) {
        if self.stream.take().is_some() {
            self.at += 1;
        }
    }

    fn address(&self) -> &str {
        &self.doors.addresses[self.at % self.doors.addresses.len()]
    }

    async fn connect(&mut self) -> Result<(), Failed> {
        let connecting = async {
            let stream = TcpStream::connect(self.address()).await?;
            stream.set_nodelay(true)?;
            Ok::<TcpStream, io::Error>(stream)
        };
        let connected = timeout(CONNECT_WITHIN, connecting).await;
        let stream = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            Err(error) => {
                let message = format!("cannot connect to {}: {error}", self.address());
                self.at += 1;
                sleep(CONNECT_PAUSE).await;
                return Err(Failed::new(UNREACHABLE, message));
            }
        };
        self.stream = Some(stream);
        self.input.clear();
        self.parser = ReplyParser::new(ReplyLimits::default());
        self.log_in().await
    }

    async fn log_in(&mut self) -> Result<(), Failed> {
        let Some(password) = self.doors.password.clone() else {
            return Ok(());
        };
        let asked = timeout(
            self.doors.timeout,
            self.ask(&[b"AUTH", password.as_bytes()]),
        )
        .await;
        let reply = asked.unwrap_or_else(|_| Err(Failed::new("timeout", "no answer to AUTH")))?;
        match reply {
            Reply::Simple(_) => Ok(()),
            other => {
                let message = format!("{} refuses the password: {other:?}", self.address());
                self.give_up();
                Err(Failed::new("turned_away", message))
            }
        }
    }

    async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Failed> {
        self.out.clear();
        write_request(words, &mut self.out);
        self.write().await?;
        self.reply().await
    }

    async fn write(&mut self) -> Result<(), Failed> {
        let Some(stream) = &mut self.stream else {
            return Err(self.lost("it was given up"));
        };
        let written = stream.write_all(&self.out).await;
        if self.out.capacity() > KEPT_BYTES {
            self.out = BytesMut::new();
        }
        written.map_err(|error| self.lost(error))
    }

    async fn reply(&mut self) -> Result<Reply, Failed> {
        loop {
            match self.parser.next(&mut self.input) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => {
                    self.give_up();
                    return Err(Failed::new("protocol", error.to_string()));
                }
            }
            let Some(stream) = &mut self.stream else {
                return Err(self.lost("it was given up"));
            };
            self.input.reserve(READ_BYTES);
            match stream.read_buf(&mut self.input).await {
                Ok(0) => return Err(self.lost("closed by the target")),
                Ok(_) => {}
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn lost(&mut self, why: impl std::fmt::Display) -> Failed {
        let message = format!("connection to {} lost: {why}", self.address());
        self.give_up();
        Failed::new(LOST, message)
    }
}

fn encode(call: &Call, out: &mut BytesMut) {
    let key = call.key.as_bytes();
    match &call.put {
        None => write_request(&[b"GET", key], out),
        Some(value) => write_request(&[b"SET", key, value], out),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::net::TcpListener;

    use super::*;
    use crate::keys::Key;

    fn get(number: u64) -> Call {
        Call {
            key: Key::of(number),
            put: None,
        }
    }

    /// Lost without it: a pipeline's commands leave one by one, or their answers are told to the wrong operations.
    #[tokio::test]
    async fn commands_leave_together_and_answers_come_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plan = Plan::default();
        let address = listener.local_addr().unwrap().to_string();
        let doors = Doors::new(&plan, &[address]);
        let (connection, accepted) = tokio::join!(doors.connection(0), listener.accept());
        let (mut connection, (mut peer, _)) = (connection.unwrap(), accepted.unwrap());
        let put = Call {
            key: Key::of(1),
            put: Some(Bytes::from_static(b"nuts")),
        };
        let calls = [put, get(2), get(3), get(4)];
        connection.send(&calls).await.unwrap();
        let meant = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$4\r\nnuts\r\n*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000002\r\n";
        let mut sent = vec![0; meant.len()];
        peer.read_exact(&mut sent).await.unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), meant);
        let replies = b"+OK\r\n$4\r\nfigs\r\n$-1\r\n-TRYAGAIN not now\r\n";
        peer.write_all(replies).await.unwrap();
        let mut answers = Vec::new();
        for call in &calls {
            answers.push(connection.answer(call).await);
        }
        let figs = Some(Bytes::from_static(b"figs"));
        let refused = Failed::new("TRYAGAIN", "TRYAGAIN not now");
        let meant = [
            Ok(Answer::Put),
            Ok(Answer::Got(figs)),
            Ok(Answer::Got(None)),
            Err(refused),
        ];
        assert_eq!(answers, meant);
    }

    /// Lost without it: the death of a node ends a worker, or its answers are waited for on a new connection.
    #[tokio::test]
    async fn a_connection_that_broke_is_made_anew() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plan = Plan::default();
        let address = listener.local_addr().unwrap().to_string();
        let doors = Doors::new(&plan, &[address]);
        let (connection, accepted) = tokio::join!(doors.connection(0), listener.accept());
        let mut connection = connection.unwrap();
        connection.send(&[get(1)]).await.unwrap();
        drop(accepted);
        let failed = connection.answer(&get(1)).await.unwrap_err();
        assert_eq!(failed.kind, LOST);
        let calls = [get(2)];
        let (sent, accepted) = tokio::join!(connection.send(&calls), listener.accept());
        sent.unwrap();
        let (mut peer, _) = accepted.unwrap();
        peer.write_all(b"$-1\r\n").await.unwrap();
        assert_eq!(connection.answer(&get(2)).await, Ok(Answer::Got(None)));
        drop(listener);
        drop(peer);
        assert_eq!(connection.answer(&get(3)).await.unwrap_err().kind, LOST);
        let sent = connection.send(&[get(3)]).await;
        assert_eq!(sent.unwrap_err().kind, UNREACHABLE);
    }
}
