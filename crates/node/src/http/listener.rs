//! This file answers: which connections of HTTP are taken, and when do they end?
//!
//! So many at once; further ones wait to be accepted. A client that is slow in saying what it wants, or in taking the
//! answer, loses its connection, and so its place, to the next one.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::stream::Stream;

/// Connections open at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// How much of a request is kept before it is understood, and of an answer before it is written.
const BUFFER_BYTES: usize = 64 << 10;
/// How long no connection is taken after one could not be: the system is short of something.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// From the beginning of the connection, or the last answer, to the end of a request's headers. Also how long an idle
    /// connection is kept.
    pub(super) headers: Duration,
    /// From the end of the headers to the end of the body.
    pub(super) body: Duration,
    /// Until some of a waiting answer is taken.
    pub(super) answer: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            headers: Duration::from_secs(30),
            body: Duration::from_secs(60),
            answer: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown` is done, then finishes what is under way: every request has a deadline of its own.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(answer(stream, permit, router.clone(), patience, stopped.clone()));
            }
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = permits.clone().acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!("an HTTP connection could not be taken: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// The task of one connection.
async fn answer(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    router: Router,
    patience: Patience,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are small and awaited; without it they are only later.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Stream::new(stream, patience.answer));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.headers)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        // The guard that it gives is not held over an await.
        () = async { drop(stopped.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("an HTTP connection ended: {error}");
    }
}
