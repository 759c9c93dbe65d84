//! This file answers: when is a transfer that failed tried again?

/// How long after the first failure; each further one doubles it, up to 32 times this.
const FIRST_MS: u64 = 100;
/// How often the other side may say that it is not ready before people are told: right after a commit it may not have
/// the new ring yet.
const PATIENT_TRIES: u32 = 3;

/// How soon a target is asked again that takes others in.
const FULL_MS: u64 = 200;

/// Trouble of a transfer and when to try again.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    not_before_ms: u64,
    tries: u32,
    refusals: u32,
    last_error: Option<String>,
    /// Why the other side was not ready, since it was last.
    not_ready: Option<String>,
    /// That the other side takes others in now.
    full: Option<String>,
}

impl Backoff {
    /// There is nothing to do for a while.
    pub(super) fn pause(&mut self, now_ms: u64) {
        let wait = FIRST_MS << self.tries.min(5);
        self.tries += 1;
        self.not_before_ms = now_ms + wait;
    }

    pub(super) fn failed(&mut self, now_ms: u64, why: String) {
        self.pause(now_ms);
        self.last_error = Some(why);
    }

    /// The other side is not ready; that is no trouble unless it persists.
    pub(super) fn put_off(&mut self, now_ms: u64, why: String) {
        self.pause(now_ms);
        self.refusals += 1;
        self.not_ready = Some(why);
        self.full = None;
    }

    /// The other side takes others in: that is no trouble, and soon over.
    pub(super) fn come_again(&mut self, now_ms: u64, why: String) {
        self.began();
        self.not_before_ms = now_ms + FULL_MS;
        self.full = Some(why);
    }

    /// The other side is ready.
    pub(super) fn began(&mut self) {
        self.refusals = 0;
        self.not_ready = None;
        self.full = None;
    }

    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.not_before_ms
    }

    /// Something changed that may help: the next try comes within `wait_ms`.
    pub(super) fn shorten(&mut self, now_ms: u64, wait_ms: u64) {
        self.not_before_ms = self.not_before_ms.min(now_ms + wait_ms);
    }

    /// Everything may be different now.
    pub(super) fn reset(&mut self) {
        self.not_before_ms = 0;
        self.tries = 0;
    }

    /// It moves on: the next failure is a first one.
    pub(super) fn moved(&mut self) {
        self.tries = 0;
    }

    /// Whether the other side was not ready last.
    pub(super) fn is_refused(&self) -> bool {
        self.not_ready.is_some()
    }

    /// That the other side takes others in, if that is what is waited for.
    pub(super) fn full(&self) -> Option<&String> {
        self.full.as_ref()
    }

    /// What people should know of what went wrong.
    pub(crate) fn trouble(&self) -> Option<&String> {
        let persists = self.refusals >= PATIENT_TRIES;
        let refused = self.not_ready.as_ref().filter(|_| persists);
        refused.or(self.last_error.as_ref())
    }
}
