//! This file answers: how do gossip's datagrams travel among strangers?
//!
//! Sealed with ChaCha20-Poly1305 under a key derived from the cluster's secret: a version byte, a nonce, the sealed
//! message. What does not open is dropped and counted. Without a secret the key is one that everybody knows: the format
//! stays one, and the configuration keeps such listeners on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use tokio::net::UdpSocket;

const VERSION: u8 = 1;
const NONCE: usize = 12;
const MAX_DATAGRAM: usize = 65_507;

/// Whether datagrams to and from an address are dropped: links cut on purpose.
pub type Blocked = Arc<dyn Fn(&SocketAddr, Way) -> bool + Send + Sync>;

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To that address.
    To,
    /// From it.
    From,
}

/// A transport of sealed datagrams.
pub(super) struct Sealed {
    cipher: ChaCha20Poly1305,
    blocked: Blocked,
    foreign: Arc<AtomicU64>,
    socket: parking_lot::Mutex<Option<UdpSocket>>,
}

impl Sealed {
    /// A transport over a socket that is bound already. `foreign` counts datagrams that did not open.
    pub(super) fn new(
        secret: Option<&str>,
        socket: UdpSocket,
        blocked: Blocked,
        foreign: Arc<AtomicU64>,
    ) -> Sealed {
        let secret = secret.unwrap_or_default();
        let key = blake3::derive_key("rkv 2026 gossip datagrams", secret.as_bytes());
        Sealed {
            cipher: ChaCha20Poly1305::new(&Key::from(key)),
            blocked,
            foreign,
            socket: parking_lot::Mutex::new(Some(socket)),
        }
    }
}

#[async_trait]
impl Transport for Sealed {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.socket.lock().take();
        let socket = socket.ok_or_else(|| anyhow::anyhow!("gossip's socket is taken"))?;
        Ok(Box::new(SealedSocket {
            cipher: self.cipher.clone(),
            blocked: self.blocked.clone(),
            foreign: self.foreign.clone(),
            socket,
            buffer: vec![0; MAX_DATAGRAM].into_boxed_slice(),
        }))
    }
}

struct SealedSocket {
    cipher: ChaCha20Poly1305,
    blocked: Blocked,
    foreign: Arc<AtomicU64>,
    socket: UdpSocket,
    buffer: Box<[u8]>,
}

#[async_trait]
impl Socket for SealedSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        if (self.blocked)(&to, Way::To) {
            return Ok(());
        }
        if let Some(datagram) = seal(&self.cipher, &message.serialize_to_vec()) {
            // A datagram that does not leave is a datagram lost: gossip lives with that.
            let _ = self.socket.send_to(&datagram, to).await;
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            // An error here is the echo of a datagram sent to a port that is closed: nothing is wrong with ours.
            let Ok((length, from)) = self.socket.recv_from(&mut self.buffer).await else {
                tokio::task::yield_now().await;
                continue;
            };
            if (self.blocked)(&from, Way::From) {
                continue;
            }
            let message = open(&self.cipher, &self.buffer[..length])
                .and_then(|plain| ChitchatMessage::deserialize(&mut &plain[..]).ok());
            match message {
                Some(message) => return Ok((from, message)),
                None => {
                    self.foreign.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn seal(cipher: &ChaCha20Poly1305, plain: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0u8; NONCE];
    getrandom::fill(&mut nonce).ok()?;
    let sealed = cipher.encrypt(&Nonce::from(nonce), plain).ok()?;
    let mut datagram = Vec::with_capacity(1 + NONCE + sealed.len());
    datagram.push(VERSION);
    datagram.extend_from_slice(&nonce);
    datagram.extend_from_slice(&sealed);
    (datagram.len() <= MAX_DATAGRAM).then_some(datagram)
}

fn open(cipher: &ChaCha20Poly1305, datagram: &[u8]) -> Option<Vec<u8>> {
    let (version, rest) = datagram.split_first()?;
    if *version != VERSION || rest.len() < NONCE {
        return None;
    }
    let (nonce, sealed) = rest.split_at(NONCE);
    let nonce: [u8; NONCE] = nonce.try_into().ok()?;
    cipher.decrypt(&Nonce::from(nonce), sealed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cipher(secret: &str) -> ChaCha20Poly1305 {
        let key = blake3::derive_key("rkv 2026 gossip datagrams", secret.as_bytes());
        ChaCha20Poly1305::new(&Key::from(key))
    }

    /// Lost without it: anybody on the network can tell a cluster who is dead.
    #[test]
    fn only_the_same_secret_opens() {
        let datagram = seal(&cipher("a"), b"hello").unwrap();
        assert_eq!(open(&cipher("a"), &datagram).unwrap(), b"hello");
        assert_eq!(open(&cipher("b"), &datagram), None);
        for at in 0..datagram.len() {
            let mut bent = datagram.clone();
            bent[at] ^= 1;
            assert_eq!(open(&cipher("a"), &bent), None, "byte {at}");
            assert_eq!(open(&cipher("a"), &datagram[..at]), None);
        }
    }
}
