//! This file answers: how does one operation find its way, and when is it tried again?
//!
//! A try goes through the candidates until one has taken the request; who was never reached, or sends the client
//! elsewhere, costs no waiting. What comes of a try is put to the retry policy. An answer that is slow to come does not
//! hold up what may be asked twice: after a while a second node is asked too.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rkv_wire::request::{Remedy, Reply, Request};
use rkv_wire::transport::Peer;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::Instrument;

use crate::calls::Heard;
use crate::client::Client;
use crate::error::Error;

/// After how long a second node is asked what may be asked twice.
const HEDGE_AFTER: Duration = Duration::from_millis(500);
/// How much sooner than its caller a node gives up, so that its word of what each replica said still arrives.
const LAST_WORD: Duration = Duration::from_millis(100);

/// One thing to be done.
pub(crate) struct Operation {
    /// For people: `put`, `get`, ...
    pub(crate) name: &'static str,
    pub(crate) key: Bytes,
    pub(crate) request: Request,
    pub(crate) value: Bytes,
    /// Whether a second copy does no harm.
    pub(crate) is_repeatable: bool,
    pub(crate) timeout: Duration,
}

/// What came of asking one node.
enum Verdict {
    Done(Reply, Bytes),
    /// Nothing was applied there; another node may.
    Next(Error),
    End(Error),
}

impl Client {
    /// Carries `operation` out, within its time.
    pub(crate) async fn run(&self, operation: Operation) -> Result<(Reply, Bytes), Error> {
        let span = tracing::debug_span!(
            "rkv",
            op = operation.name,
            key_bytes = operation.key.len(),
            value_bytes = operation.value.len(),
            tries = tracing::field::Empty,
            node = tracing::field::Empty,
            error = tracing::field::Empty,
        );
        self.tries(operation).instrument(span).await
    }

    async fn tries(&self, operation: Operation) -> Result<(Reply, Bytes), Error> {
        let span = tracing::Span::current();
        let until = Instant::now() + operation.timeout;
        let permit = timeout_at(until, self.inner().in_flight.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(Error::Timeout(operation.timeout));
        };
        let mut tries = 0;
        loop {
            let tried = self.one_try(&operation, tries, until).await;
            tries += 1;
            let error = match tried {
                Ok(done) => {
                    span.record("tries", tries);
                    return Ok(done);
                }
                Err(error) => error,
            };
            let wait = self.inner().retry.after(tries, &error);
            let wait = wait.filter(|wait| Instant::now() + *wait < until);
            let Some(wait) = wait else {
                span.record("tries", tries);
                span.record("error", tracing::field::display(&error));
                return Err(error);
            };
            tracing::debug!(%error, tries, "tried again in {} ms", wait.as_millis());
            sleep(wait).await;
        }
    }

    async fn one_try(
        &self,
        operation: &Operation,
        tries: u32,
        until: Instant,
    ) -> Result<(Reply, Bytes), Error> {
        let shared = self.shared();
        let routing = shared.routing.load_full();
        let is_lost = |node: &_| shared.calls.is_lost(node);
        let mut candidates = routing
            .candidates(&operation.key, tries as usize, is_lost)
            .into_iter();
        let mut asked = FuturesUnordered::new();
        let mut hedge_at = Instant::now() + HEDGE_AFTER;
        let mut may_hedge = operation.is_repeatable;
        let mut last = Error::Unreachable("the ring names no node".to_owned());
        loop {
            if asked.is_empty() {
                match candidates.next() {
                    Some(peer) => asked.push(self.ask(peer, operation, until)),
                    None => {
                        shared.calls.want_ring();
                        return Err(last);
                    }
                }
            }
            tokio::select! {
                Some(verdict) = asked.next() => match verdict {
                    Verdict::Done(reply, body) => return Ok((reply, body)),
                    Verdict::Next(error) => last = error,
                    Verdict::End(error) if asked.is_empty() => return Err(error),
                    Verdict::End(error) => last = error,
                },
                () = sleep_until(hedge_at), if may_hedge => {
                    may_hedge = false;
                    hedge_at = until;
                    asked.extend(candidates.next().map(|peer| self.ask(peer, operation, until)));
                }
                () = sleep_until(until) => {
                    let timeout = operation.timeout;
                    return Err(match operation.is_repeatable {
                        true => Error::Timeout(timeout),
                        false => Error::Unknown(format!("no answer within {} ms", timeout.as_millis())),
                    });
                }
            }
        }
    }

    async fn ask(&self, peer: Peer, operation: &Operation, until: Instant) -> Verdict {
        let shared = self.shared();
        let remains = until.saturating_duration_since(Instant::now());
        let within = remains - LAST_WORD.min(remains / 5);
        let cluster = shared.routing.load().cluster();
        let what = (cluster, operation.request.clone(), operation.value.clone());
        let asked = shared.calls.ask(&shared.transport, &peer, within, what);
        let (ring, reply, body) = match asked.heard().await {
            Heard::Reply(ring, reply, body) => (ring, *reply, body),
            Heard::NeverLeft => {
                let text = format!("{} at {} cannot be reached", peer.name, peer.address);
                return Verdict::Next(Error::Unreachable(text));
            }
            Heard::Lost => {
                let text = format!("the connection to {} was lost", peer.name);
                return match operation.is_repeatable {
                    true => Verdict::Next(Error::Unreachable(text)),
                    false => Verdict::End(Error::Unknown(text)),
                };
            }
        };
        if shared.routing.load().is_behind(&ring) {
            shared.calls.want_ring();
        }
        match reply {
            Reply::Refused(refused) => {
                let remedy = refused.remedy;
                let error = Error::from(*refused);
                match remedy {
                    Remedy::Elsewhere => {
                        shared.calls.set_lost(&peer.name, true);
                        Verdict::Next(error)
                    }
                    _ => Verdict::End(error),
                }
            }
            reply => {
                tracing::Span::current().record("node", peer.name.as_str());
                Verdict::Done(reply, body)
            }
        }
    }
}
