//! This file answers: how does one operation find its way, and when is it tried again?
//!
//! A try goes through the candidates until one has taken the request; who was never reached, or sends the client
//! elsewhere, costs no waiting. What comes of a try is put to the retry policy. An answer that is slow to come does not
//! hold up what may be asked twice: after a while a second node is asked too.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use rkv_wire::request::{Remedy, Reply, Request};
use rkv_wire::transport::Peer;
use smallvec::SmallVec;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::Instrument;

use crate::calls::{Asked, Heard};
use crate::client::Client;
use crate::error::Error;
use crate::routing::Routing;

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

impl Operation {
    /// Its time is over.
    fn is_late(&self) -> Error {
        match self.is_repeatable {
            true => Error::Timeout(self.timeout),
            false => Error::Unknown(format!("no answer within {} ms", self.timeout.as_millis())),
        }
    }
}

/// Of those asked, who is heard of first; that one is taken out.
async fn first_heard<'a>(asked: &mut SmallVec<[(&'a Peer, Asked<'_>); 2]>) -> (&'a Peer, Heard) {
    poll_fn(|cx| {
        for at in 0..asked.len() {
            if let Poll::Ready(heard) = asked[at].1.poll_heard(cx) {
                let (peer, _) = asked.swap_remove(at);
                return Poll::Ready((peer, heard));
            }
        }
        Poll::Pending
    })
    .await
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
        let in_flight = &self.inner().in_flight;
        let _permit = match in_flight.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match timeout_at(until, in_flight.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(Error::Timeout(operation.timeout)),
            },
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
        let mut next = || {
            let peer = candidates.next()?;
            Some((peer, self.ask(peer, &routing, operation, until)))
        };
        let mut asked: SmallVec<[_; 2]> = SmallVec::new();
        let mut hedge_at = operation
            .is_repeatable
            .then(|| Instant::now() + HEDGE_AFTER)
            .filter(|at| *at < until);
        let mut alarm = pin!(sleep_until(hedge_at.unwrap_or(until)));
        let mut last = Error::Unreachable("the ring names no node".to_owned());
        loop {
            if asked.is_empty() {
                match next() {
                    Some(first) => asked.push(first),
                    None => {
                        shared.calls.want_ring();
                        return Err(last);
                    }
                }
            }
            let (peer, heard) = tokio::select! {
                biased;
                heard = first_heard(&mut asked) => heard,
                () = &mut alarm => match hedge_at.take() {
                    Some(_) => {
                        alarm.as_mut().reset(until);
                        asked.extend(next());
                        continue;
                    }
                    None => return Err(operation.is_late()),
                },
            };
            match self.judge(peer, heard, operation) {
                Verdict::Done(reply, body) => return Ok((reply, body)),
                Verdict::Next(error) => last = error,
                Verdict::End(error) if asked.is_empty() => return Err(error),
                Verdict::End(error) => last = error,
            }
        }
    }

    fn ask(
        &self,
        peer: &Peer,
        routing: &Routing,
        operation: &Operation,
        until: Instant,
    ) -> Asked<'_> {
        let shared = self.shared();
        let remains = until.saturating_duration_since(Instant::now());
        let within = remains - LAST_WORD.min(remains / 5);
        let what = (
            routing.cluster(),
            operation.request.clone(),
            operation.value.clone(),
        );
        shared.calls.ask(&shared.transport, peer, within, what)
    }

    fn judge(&self, peer: &Peer, heard: Heard, operation: &Operation) -> Verdict {
        let shared = self.shared();
        let (ring, reply, body) = match heard {
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
