//! This file answers: which Redis server do the trials run against?
//!
//! One in this process that knows SET, GET and INFO, and may be told to misbehave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use rkv_resp::{Limits, Protocol, Reply, RequestParser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should.
    Sound,
    /// Keeps the first value of each key.
    Forgetful,
    /// Refuses every tenth request.
    Busy,
    /// Ends a connection after a hundred requests.
    Mortal,
}

const REFUSED: usize = 10;
const LIFE: usize = 100;

#[derive(Debug, Default)]
struct Held {
    values: HashMap<Bytes, Bytes>,
    requests: Vec<Vec<Bytes>>,
}

/// A server that ends when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    address: String,
    held: Arc<Mutex<Held>>,
    task: JoinHandle<()>,
}

impl RedisServer {
    pub(crate) async fn start(manner: Manner) -> RedisServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let held = Arc::new(Mutex::new(Held::default()));
        let shared = held.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Replies of several writes would wait for each other.
                stream.set_nodelay(true).unwrap();
                tokio::spawn(serve(stream, shared.clone(), manner));
            }
        });
        RedisServer {
            address,
            held,
            task,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// All that was asked, in order.
    pub(crate) fn requests(&self) -> Vec<Vec<Bytes>> {
        self.held.lock().unwrap().requests.clone()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, held: Arc<Mutex<Held>>, manner: Manner) {
    let mut parser = RequestParser::new(Limits::default());
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let mut served = 0;
    while stream.read_buf(&mut input).await.is_ok_and(|read| read > 0) {
        while let Ok(Some(request)) = parser.next(&mut input) {
            served += 1;
            let words = request.args.iter().cloned().collect();
            let reply = match manner {
                Manner::Busy if served % REFUSED == 0 => Reply::error("BUSY too much to do"),
                Manner::Mortal if served > LIFE => return,
                _ => answer(words, &mut held.lock().unwrap(), manner),
            };
            reply.write(Protocol::Resp2, &mut out);
        }
        if stream.write_all(&out.split()).await.is_err() {
            return;
        }
    }
}

fn answer(words: Vec<Bytes>, held: &mut Held, manner: Manner) -> Reply {
    held.requests.push(words.clone());
    match &words[..] {
        [name, key, value] if name == "SET" => {
            let is_kept = manner == Manner::Forgetful && held.values.contains_key(key);
            if !is_kept {
                held.values.insert(key.clone(), value.clone());
            }
            Reply::OK
        }
        [name, key] if name == "GET" => match held.values.get(key) {
            Some(value) => Reply::bulk(value.clone()),
            None => Reply::Null,
        },
        [name, _] if name == "INFO" => Reply::bulk("# Server\r\nredis_version:0.0.1\r\n"),
        other => Reply::error(format!("ERR unknown {other:?}")),
    }
}
