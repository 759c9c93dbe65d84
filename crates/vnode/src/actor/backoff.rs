//! This file answers: when is a transfer that failed tried again?

/// How long after the first failure; each further one doubles it, up to 32 times this.
const FIRST_MS: u64 = 100;

/// Trouble of a transfer and when to try again.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    not_before_ms: u64,
    tries: u32,
    last_error: Option<String>,
}

impl Backoff {
    pub(super) fn failed(&mut self, now_ms: u64, why: String) {
        let wait = FIRST_MS << self.tries.min(5);
        self.tries += 1;
        self.not_before_ms = now_ms + wait;
        self.last_error = Some(why);
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

    /// What went wrong last.
    pub(crate) fn last_error(&self) -> Option<&String> {
        self.last_error.as_ref()
    }
}
