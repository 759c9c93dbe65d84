//! This file answers: may these listeners be opened?
//!
//! **Invariant of the program:** a listener that somebody off this machine can reach has a secret of its own.

use std::net::IpAddr;

use super::{Config, keys};

/// A listener that must not be opened as configured; the message names the key that helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DoorError {
    /// Reachable from outside, and anybody may come in.
    #[error(
        "{listen} = {address} can be reached from other machines, so it needs a secret: set {needs}, or listen on 127.0.0.1"
    )]
    Open {
        /// The listener's key.
        listen: &'static str,
        /// Where it would listen.
        address: String,
        /// What must be set.
        needs: &'static str,
    },
    /// Others would be told an address that is none.
    #[error(
        "{listen} = {address} is no address that others can use: set {advertise} to the one that they reach"
    )]
    Anywhere {
        /// The listener's key.
        listen: &'static str,
        /// Where it listens.
        address: String,
        /// What must be set.
        advertise: &'static str,
    },
}

impl Config {
    /// Refuses listeners off loopback without their own secret, and addresses that nobody can reach.
    pub(crate) fn check_doors(&self) -> Result<(), DoorError> {
        let (listen, advertise) = (&self.listen, &self.advertise);
        let has_user = self.redis.password.is_some() || !self.redis.users.is_empty();
        let doors = [
            (
                "listen.redis",
                &listen.redis,
                has_user,
                "redis.password_file (or redis.password, redis.users)",
                ("advertise.redis", &advertise.redis),
            ),
            (
                "listen.peer",
                &listen.peer,
                self.cluster.secret.is_some(),
                "cluster.secret_file (or cluster.secret)",
                ("advertise.peer", &advertise.peer),
            ),
            (
                "listen.http",
                &listen.http,
                self.http.token.is_some(),
                "http.token_file (or http.token)",
                ("advertise.http", &advertise.http),
            ),
        ];
        for (key, address, is_locked, needs, (advertise, advertised)) in doors {
            if !is_loopback(address) && !is_locked {
                return Err(DoorError::Open {
                    listen: key,
                    address: address.clone(),
                    needs,
                });
            }
            if is_unspecified(address) && advertised.is_none() {
                return Err(DoorError::Anywhere {
                    listen: key,
                    address: address.clone(),
                    advertise,
                });
            }
        }
        Ok(())
    }
}

fn ip(address: &str) -> Option<IpAddr> {
    keys::address(address)
        .ok()
        .and_then(|(host, _)| host.parse().ok())
}

/// Whether only this machine reaches `address`. A name counts as loopback only if it is `localhost`.
fn is_loopback(address: &str) -> bool {
    match ip(address) {
        Some(ip) => ip.is_loopback(),
        None => keys::address(address).is_ok_and(|(host, _)| host == "localhost"),
    }
}

fn is_unspecified(address: &str) -> bool {
    ip(address).is_some_and(|ip| ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: a store open to the whole network, the story of most Redis ransoms.
    #[test]
    fn a_listener_off_loopback_needs_its_own_secret() {
        let config = Config::default();
        assert_eq!(config.check_doors(), Ok(()));
        let open = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check_doors().map_err(|error| error.to_string())
        };
        let refused = |change, key: &str| {
            let said = open(change).unwrap_err();
            assert!(said.contains(key), "{said}");
        };
        refused(
            |c| c.listen.redis = "10.0.0.1:6379".into(),
            "redis.password",
        );
        refused(
            |c| c.listen.peer = "[2001:db8::1]:7379".into(),
            "cluster.secret",
        );
        refused(|c| c.listen.http = "example.net:80".into(), "http.token");
        let elsewhere = |c: &mut Config| {
            c.listen.redis = "10.0.0.1:6379".into();
            c.cluster.secret = Some("x".into());
            c.http.token = Some("x".into());
        };
        refused(elsewhere, "redis.password");
        refused(
            |c| {
                c.listen.http = "0.0.0.0:80".into();
                c.http.token = Some("x".into());
            },
            "advertise.http",
        );
        let locked = |c: &mut Config| {
            c.listen.redis = "10.0.0.1:6379".into();
            c.redis.users.insert("ann".into(), "x".into());
        };
        assert_eq!(open(locked), Ok(()));
        assert_eq!(open(|c| c.listen.redis = "[::1]:0".into()), Ok(()));
        assert_eq!(open(|c| c.listen.redis = "localhost:0".into()), Ok(()));
    }
}
