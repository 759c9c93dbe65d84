//! This file answers: how does a fresh socket become a connection with somebody known?
//!
//! Carries [`Handshake`] over a socket, within a time and within [`Limits::HANDSHAKE`].

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rkv_ring::NodeName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::codec::{Batch, Decoder, Frame, FrameError, Kind, Limits};
use crate::handshake::{Handshake, HandshakeError, PeerInfo, Purpose, Remote, Role, Step};
use crate::tcp::TcpConfig;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be resolved or connected to, or the connection broke.
    #[error("cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// Nobody answered in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Somebody answered who is not one to talk to.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Something else than rkv answered.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Another node lives at that address now.
    #[error("{found} answers where {expected} was expected")]
    WrongName {
        /// Who was dialled.
        expected: NodeName,
        /// Who answered.
        found: NodeName,
    },
}

impl ConnectError {
    /// Whether nobody listens there: whoever did is gone.
    pub fn is_refused(&self) -> bool {
        matches!(self, ConnectError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether the two ends hold different secrets: no other try will go better.
    pub fn is_wrong_secret(&self) -> bool {
        matches!(
            self,
            ConnectError::Handshake(HandshakeError::WrongSecret { .. })
        )
    }
}

/// A connection whose two ends know each other.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) stream: TcpStream,
    pub(super) decoder: Decoder,
    /// Received behind the handshake already.
    pub(super) buffer: BytesMut,
    pub(super) peer: PeerInfo,
    pub(super) purpose: Purpose,
}

/// Connects to `address` and proves who both are.
pub(super) async fn dial(
    config: &TcpConfig,
    address: &str,
    purpose: Purpose,
) -> Result<Established, ConnectError> {
    let within = config.timings.connect;
    let stream = timeout(within, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::Timeout(within))??;
    let remote = Remote::from(stream.peer_addr()?.ip());
    let (handshake, hello) = Handshake::dial(
        config.identity.clone(),
        config.secrets.clone(),
        purpose,
        nonce()?,
        remote,
    )?;
    let mut shake = Shake::new(stream, handshake)?;
    let within = config.timings.dial_handshake;
    timeout(within, async {
        shake.say(&hello).await?;
        shake
            .run(|peer| !config.faults.is_deaf_to(&peer.name))
            .await
    })
    .await
    .map_err(|_| ConnectError::Timeout(within))?
    .map(|(peer, purpose)| shake.establish(peer, purpose))
}

/// Hears out whoever connected from `from`. A node whose link is cut on purpose gets no answer.
pub(super) async fn accept(
    config: &TcpConfig,
    stream: TcpStream,
    from: SocketAddr,
) -> Result<Established, ConnectError> {
    let handshake = Handshake::accept(
        config.identity.clone(),
        config.secrets.clone(),
        nonce()?,
        Remote::from(from.ip()),
    );
    let mut shake = Shake::new(stream, handshake)?;
    let within = config.timings.accept_handshake;
    // A client may call itself what it likes: no link of it is cut.
    let welcome =
        |peer: &PeerInfo| peer.role == Role::Client || !config.faults.is_deaf_to(&peer.name);
    let (peer, purpose) = timeout(within, shake.run(welcome))
        .await
        .map_err(|_| ConnectError::Timeout(within))??;
    Ok(shake.establish(peer, purpose))
}

fn nonce() -> io::Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

struct Shake {
    stream: TcpStream,
    handshake: Handshake,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Shake {
    fn new(stream: TcpStream, handshake: Handshake) -> io::Result<Shake> {
        stream.set_nodelay(true)?;
        Ok(Shake {
            stream,
            handshake,
            decoder: Decoder::new(Limits::HANDSHAKE),
            buffer: BytesMut::new(),
        })
    }

    /// Until both are done or one refuses. A peer that is not `welcome` waits for ever for the last word.
    async fn run(
        &mut self,
        welcome: impl Fn(&PeerInfo) -> bool,
    ) -> Result<(PeerInfo, Purpose), ConnectError> {
        loop {
            let frame = self.hear().await?;
            if frame.kind() != Kind::Handshake {
                return Err(FrameError::OutOfPlace(frame.kind()).into());
            }
            match self.handshake.step(frame.header()) {
                Step::Send(message) => self.say(&message).await?,
                Step::Done {
                    send,
                    peer,
                    purpose,
                } => {
                    if !welcome(&peer) {
                        pending::<()>().await;
                    }
                    if let Some(message) = send {
                        self.say(&message).await?;
                    }
                    return Ok((peer, purpose));
                }
                Step::Failed { send, error } => {
                    if let Some(message) = send {
                        // The refusal is a courtesy: our own reason stands whether or not it arrives.
                        let _ = self.say(&message).await;
                        let _ = self.stream.shutdown().await;
                    }
                    return Err(error.into());
                }
            }
        }
    }

    async fn hear(&mut self) -> Result<Frame, ConnectError> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer)? {
                return Ok(frame);
            }
            self.decoder.room(&mut self.buffer);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    async fn say(&mut self, message: &[u8]) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.push_bare(Kind::Handshake, message);
        let mut bytes = BytesMut::with_capacity(batch.len());
        batch.copy_to(&mut bytes);
        self.stream.write_all(&bytes).await
    }

    fn establish(mut self, peer: PeerInfo, purpose: Purpose) -> Established {
        self.decoder.set_limits(match peer.role {
            Role::Peer => Limits::NODE,
            Role::Client => Limits::CLIENT,
        });
        Established {
            stream: self.stream,
            decoder: self.decoder,
            buffer: self.buffer,
            peer,
            purpose,
        }
    }
}
