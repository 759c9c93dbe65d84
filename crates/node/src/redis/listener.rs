//! This file answers: which connections are taken, and when do they end?

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use rkv_kv::Engine;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::connection::Connection;
use super::server::{RedisConfig, Server};
use super::threads::{Moving, Threads};

/// A peer that has been silent for so long is asked whether it is still there; one whose machine is gone does not
/// answer, and its connection ends.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(300);
/// How often it is asked.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(20);
/// How long no connection is taken after one could not be: the system is short of something.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves the Redis protocol on `listener` until `shutdown` is true (or nobody is left who could say so): then no
/// connection is taken, requests under way are finished, and this returns when all connections are closed.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    config: RedisConfig,
    threads: Threads,
    mut shutdown: watch::Receiver<bool>,
) {
    let unknown = || SocketAddr::from(([0, 0, 0, 0], 0));
    let local = listener.local_addr().unwrap_or_else(|_| unknown());
    let server = Arc::new(Server::new(engine, config, local));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // The guard that it gives is not held over an await.
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
            Some(ended) = connections.join_next() => look_at(ended, &threads, &mut connections),
            accepted = listener.accept() => match accepted {
                Ok((stream, addr)) => {
                    if let Some(connection) = admit(&server, &stream, addr) {
                        connections.spawn_on(connection.run(stream), &threads.calls);
                    } else {
                        turn_away(stream);
                    }
                }
                Err(error) => {
                    tracing::warn!("a redis connection could not be taken: {error}");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    server.stop();
    while let Some(ended) = connections.join_next().await {
        look_at(ended, &threads, &mut connections);
    }
}

fn admit(server: &Arc<Server>, stream: &TcpStream, addr: SocketAddr) -> Option<Connection> {
    let admitted = server.admit(addr, stream.as_raw_fd())?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_AGAIN);
    let is_set_up = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = is_set_up {
        tracing::debug!("a redis connection from {addr} has not all its options: {error}");
    }
    Some(Connection::new(admitted))
}

/// Says why, if the socket takes it at once.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(b"-ERR max number of clients reached\r\n");
    }
}

/// A connection has ended where it ran.
fn look_at(
    ended: Result<Option<Box<Moving>>, JoinError>,
    threads: &Threads,
    connections: &mut JoinSet<Option<Box<Moving>>>,
) {
    match ended {
        Ok(None) => {}
        Ok(Some(moving)) => threads.take_in(moving, connections),
        Err(error) => tracing::error!("a redis connection ended by a fault of ours: {error}"),
    }
}
