//! This file answers: is a client who it says?
//!
//! Every configured user is looked at, and every byte of what was given, whatever matches: how long it takes tells
//! nothing of the secrets but how many users there are.

use rkv_resp::CommandError;
use rkv_resp::typed::Credentials;
use subtle::{Choice, ConstantTimeEq};

use super::server::RedisConfig;

/// The user who gives a password alone.
pub(super) const DEFAULT_USER: &str = "default";

impl RedisConfig {
    /// Whether anything must be proved at all.
    pub(super) fn needs_auth(&self) -> bool {
        self.password.is_some() || !self.users.is_empty()
    }

    /// The users that there are: `default` is one where nothing must be proved, or where it has a password.
    pub(super) fn user_names(&self) -> impl Iterator<Item = &str> {
        let is_default_there = self.password.is_some() || !self.needs_auth();
        let default = is_default_there.then_some(DEFAULT_USER);
        let users = self.users.keys().map(String::as_str);
        default
            .into_iter()
            .chain(users.filter(move |name| !(is_default_there && *name == DEFAULT_USER)))
    }

    /// The user that `given` proves to be.
    pub(super) fn prove(&self, given: &Credentials) -> Result<String, CommandError> {
        if !self.needs_auth() {
            return match given.user.as_deref() {
                None => Err(CommandError::NoPasswordConfigured),
                Some(user) if user == DEFAULT_USER.as_bytes() => Ok(DEFAULT_USER.to_owned()),
                Some(_) => Err(CommandError::WrongPassword),
            };
        }
        let user = given.user.as_deref().unwrap_or(DEFAULT_USER.as_bytes());
        let default = self.password.iter().map(|secret| (DEFAULT_USER, secret));
        let users = self
            .users
            .iter()
            .map(|(name, secret)| (name.as_str(), secret));
        let mut proved = None;
        for (name, secret) in default.chain(users) {
            let is_he = same(user, name.as_bytes()) & same(&given.password, secret.as_bytes());
            if bool::from(is_he) {
                proved = Some(name);
            }
        }
        proved.map(str::to_owned).ok_or(CommandError::WrongPassword)
    }
}

/// In a time that depends on `given` alone.
fn same(given: &[u8], secret: &[u8]) -> Choice {
    let mut same = (given.len() as u64).ct_eq(&(secret.len() as u64));
    for (at, byte) in given.iter().enumerate() {
        same &= byte.ct_eq(secret.get(at).unwrap_or(&0));
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prove(config: &RedisConfig, user: Option<&str>, password: &str) -> Result<String, String> {
        let given = Credentials {
            user: user.map(|user| user.to_owned().into()),
            password: password.to_owned().into(),
        };
        config.prove(&given).map_err(|error| error.to_string())
    }

    #[test]
    fn only_the_right_pair_proves() {
        // Lost without it: a prefix of a password, or one user's password under another's name, opens the store.
        let mut config = RedisConfig::default();
        let none = "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                    configuration is correct?";
        assert_eq!(prove(&config, None, "x"), Err(none.to_owned()));
        assert_eq!(
            prove(&config, Some("default"), "x"),
            Ok("default".to_owned())
        );
        config.password = Some("secret".to_owned());
        config.users.insert("ann".to_owned(), "hers".to_owned());
        let wrong = Err("WRONGPASS invalid username-password pair or user is disabled.".to_owned());
        for (user, password) in [
            (None, ""),
            (None, "secre"),
            (None, "secret\0"),
            (None, "hers"),
            (Some("ann"), "secret"),
            (Some("ann"), ""),
            (Some("bob"), "hers"),
            (Some(""), "secret"),
        ] {
            assert_eq!(prove(&config, user, password), wrong, "{user:?} {password}");
        }
        assert_eq!(prove(&config, None, "secret"), Ok("default".to_owned()));
        assert_eq!(
            prove(&config, Some("default"), "secret"),
            Ok("default".to_owned())
        );
        assert_eq!(prove(&config, Some("ann"), "hers"), Ok("ann".to_owned()));
    }
}
