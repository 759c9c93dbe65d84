//! This file answers: how many answers does a request ask for?
//!
//! Numbers come from the request, else from its keyspace, else they are a majority. They are checked here, before
//! anything is sent; whether enough nodes are up to give them is another question (`put`, `get`).

use serde::{Deserialize, Serialize};

use crate::tally::Tally;

/// The smallest number of `n` of which any two choices meet.
pub fn majority(n: u8) -> u8 {
    n / 2 + 1
}

/// What a keyspace says for requests that do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Defaults {
    /// Replicas; none is the ring's N.
    pub n: Option<u8>,
    /// Answers that a read waits for; none is a majority of n.
    pub r: Option<u8>,
    /// Answers that a write waits for; none is a majority of n.
    pub w: Option<u8>,
    /// How many of a read's must be owners.
    pub pr: u8,
    /// How many of a write's must be owners.
    pub pw: u8,
    /// Whether an owner's word that it holds nothing counts for r.
    pub notfound_ok: bool,
    /// How long a request may take.
    pub timeout_ms: u64,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            n: None,
            r: None,
            w: None,
            pr: 0,
            pw: 0,
            notfound_ok: true,
            timeout_ms: 5000,
        }
    }
}

/// What one put or delete asks for; none is the keyspace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PutOptions {
    /// Narrows the request to the first n of the row.
    pub n: Option<u32>,
    /// Answers to wait for.
    pub w: Option<u32>,
    /// How many of them must be owners.
    pub pw: Option<u32>,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
}

/// What one get asks for; none is the keyspace's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GetOptions {
    /// Narrows the request to the first n of the row.
    pub n: Option<u32>,
    /// Answers to wait for.
    pub r: Option<u32>,
    /// How many of them must be owners.
    pub pr: Option<u32>,
    /// Whether an owner's word that it holds nothing counts for r.
    pub notfound_ok: Option<bool>,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
}

/// What one put waits for: checked numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutPolicy {
    /// Places of the row that take part: 1 to the ring's N.
    pub n: u8,
    /// Places that must have stored it: 1 to n.
    pub w: u8,
    /// How many of them must be owners': 0 to n.
    pub pw: u8,
    /// Deadline, from the start.
    pub timeout_ms: u64,
}

impl PutPolicy {
    /// The numbers for one put, or which of them is impossible in a ring of `ring_n` replicas.
    pub fn new(
        asked: &PutOptions,
        defaults: &Defaults,
        ring_n: u8,
    ) -> Result<PutPolicy, PolicyError> {
        let n = replicas(asked.n, defaults, ring_n)?;
        Ok(PutPolicy {
            n,
            w: answers("w", asked.w, 1, defaults.w.unwrap_or(majority(n)), n)?,
            pw: answers("pw", asked.pw, 0, defaults.pw, n)?,
            timeout_ms: timeout(asked.timeout_ms, defaults)?,
        })
    }
}

/// What one get waits for: checked numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetPolicy {
    /// Places of the row that take part: 1 to the ring's N.
    pub n: u8,
    /// Places that must have answered: 1 to n.
    pub r: u8,
    /// How many of them must be owners': 0 to n.
    pub pr: u8,
    /// Whether absence counts. Without it only a found object does, or the word of all n places that there is none.
    pub notfound_ok: bool,
    /// Deadline, from the start.
    pub timeout_ms: u64,
}

impl GetPolicy {
    /// The numbers for one get, or which of them is impossible in a ring of `ring_n` replicas.
    pub fn new(
        asked: &GetOptions,
        defaults: &Defaults,
        ring_n: u8,
    ) -> Result<GetPolicy, PolicyError> {
        let n = replicas(asked.n, defaults, ring_n)?;
        Ok(GetPolicy {
            n,
            r: answers("r", asked.r, 1, defaults.r.unwrap_or(majority(n)), n)?,
            pr: answers("pr", asked.pr, 0, defaults.pr, n)?,
            notfound_ok: asked.notfound_ok.unwrap_or(defaults.notfound_ok),
            timeout_ms: timeout(asked.timeout_ms, defaults)?,
        })
    }

    /// The answers that make it.
    pub(crate) fn needed(&self) -> Tally {
        Tally {
            places: usize::from(self.r),
            owners: usize::from(self.pr),
            nodes: 0,
        }
    }
}

fn replicas(asked: Option<u32>, defaults: &Defaults, ring_n: u8) -> Result<u8, PolicyError> {
    let default = defaults.n.unwrap_or(ring_n).clamp(1, ring_n);
    match asked {
        None => Ok(default),
        Some(n) => u8::try_from(n)
            .ok()
            .filter(|n| (1..=ring_n).contains(n))
            .ok_or(PolicyError::Replicas { asked: n, ring_n }),
    }
}

/// A number that was asked for must fit; a default gives way to a smaller n.
fn answers(
    name: &'static str,
    asked: Option<u32>,
    least: u8,
    default: u8,
    n: u8,
) -> Result<u8, PolicyError> {
    match asked {
        None => Ok(default.clamp(least, n)),
        Some(asked) => u8::try_from(asked)
            .ok()
            .filter(|k| (least..=n).contains(k))
            .ok_or(PolicyError::Answers {
                name,
                least,
                n,
                asked,
            }),
    }
}

fn timeout(asked: Option<u64>, defaults: &Defaults) -> Result<u64, PolicyError> {
    match asked.unwrap_or(defaults.timeout_ms) {
        0 => Err(PolicyError::Timeout),
        ms => Ok(ms),
    }
}

/// A number that no request can have. The caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// n is beyond the ring's.
    #[error("n must be from 1 to the ring's replicas ({ring_n}), not {asked}")]
    Replicas {
        /// What was asked for.
        asked: u32,
        /// The ring's N.
        ring_n: u8,
    },
    /// r, w, pr or pw is beyond n.
    #[error("{name} must be from {least} to n ({n}), not {asked}")]
    Answers {
        /// Which.
        name: &'static str,
        /// The least it may be.
        least: u8,
        /// The n of this request.
        n: u8,
        /// What was asked for.
        asked: u32,
    },
    /// No time at all.
    #[error("timeout must be at least 1 ms, not 0")]
    Timeout,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(n: Option<u32>, w: Option<u32>, pw: Option<u32>) -> Result<(u8, u8, u8), String> {
        let asked = PutOptions {
            n,
            w,
            pw,
            timeout_ms: None,
        };
        PutPolicy::new(&asked, &Defaults::default(), 3)
            .map(|p| (p.n, p.w, p.pw))
            .map_err(|e| e.to_string())
    }

    /// Lost without it: a request for more answers than there can be waits for its timeout.
    #[test]
    fn numbers_are_checked_and_named() {
        assert_eq!(put(None, None, None), Ok((3, 2, 0)));
        assert_eq!(put(Some(1), None, None), Ok((1, 1, 0)));
        assert_eq!(put(Some(2), None, Some(2)), Ok((2, 2, 2)));
        assert_eq!(put(None, Some(3), None), Ok((3, 3, 0)));
        let refused = |n, w, pw| put(n, w, pw).unwrap_err();
        assert_eq!(
            refused(None, Some(4), None),
            "w must be from 1 to n (3), not 4"
        );
        assert_eq!(
            refused(None, Some(0), None),
            "w must be from 1 to n (3), not 0"
        );
        assert_eq!(
            refused(Some(2), Some(3), None),
            "w must be from 1 to n (2), not 3"
        );
        assert_eq!(
            refused(None, None, Some(300)),
            "pw must be from 0 to n (3), not 300"
        );
        let n = "n must be from 1 to the ring's replicas (3), not";
        assert_eq!(refused(Some(4), None, None), format!("{n} 4"));
        assert_eq!(refused(Some(0), None, None), format!("{n} 0"));
        let asked = GetOptions {
            r: Some(4),
            ..GetOptions::default()
        };
        let error = GetPolicy::new(&asked, &Defaults::default(), 3).unwrap_err();
        assert_eq!(error.to_string(), "r must be from 1 to n (3), not 4");
        let asked = GetOptions {
            timeout_ms: Some(0),
            ..GetOptions::default()
        };
        assert!(GetPolicy::new(&asked, &Defaults::default(), 3).is_err());
    }

    /// Lost without it: a keyspace made for three replicas refuses every request that narrows itself to one.
    #[test]
    fn defaults_give_way_to_a_smaller_n() {
        let defaults = Defaults {
            w: Some(3),
            r: Some(2),
            pr: 2,
            ..Defaults::default()
        };
        let asked = PutOptions {
            n: Some(1),
            ..PutOptions::default()
        };
        assert_eq!(PutPolicy::new(&asked, &defaults, 3).unwrap().w, 1);
        let asked = GetOptions {
            n: Some(1),
            ..GetOptions::default()
        };
        let policy = GetPolicy::new(&asked, &defaults, 3).unwrap();
        assert_eq!((policy.r, policy.pr), (1, 1));
    }

    /// Lost without it: two majorities that do not meet.
    #[test]
    fn majorities_meet() {
        for n in 1..=u8::MAX {
            assert!(2 * u16::from(majority(n)) > u16::from(n));
            assert!(2 * u16::from(majority(n) - 1) <= u16::from(n));
        }
    }
}
