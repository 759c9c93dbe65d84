//! This file answers: which connections does CLIENT KILL end?

use bytes::Bytes;

use crate::error::shown;
use crate::{CommandError, integer};

/// What a connection must be for CLIENT KILL to end it: all that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// `CLIENT KILL ip:port`: the reply is no count but OK, or an error when there is none.
    pub is_by_address: bool,
    /// Its number.
    pub id: Option<u64>,
    /// Of a kind of which there is none here: replicas, subscribers.
    pub is_of_absent_kind: bool,
    /// Its user.
    pub user: Option<Bytes>,
    /// Where it comes from.
    pub address: Option<Bytes>,
    /// Which address of this node it came to.
    pub local_address: Option<Bytes>,
    /// Whether the connection that asks is left alone.
    pub skips_me: bool,
}

impl Kill {
    /// Reads what follows CLIENT KILL.
    pub(crate) fn parse(args: &[Bytes]) -> Result<Kill, CommandError> {
        let mut kill = Kill {
            is_by_address: false,
            id: None,
            is_of_absent_kind: false,
            user: None,
            address: None,
            local_address: None,
            skips_me: true,
        };
        if let [address] = args {
            kill.is_by_address = true;
            kill.address = Some(address.clone());
            kill.skips_me = false;
            return Ok(kill);
        }
        for pair in args.chunks(2) {
            let [option, value] = pair else {
                return Err(CommandError::Syntax);
            };
            kill.read(option, value)?;
        }
        Ok(kill)
    }

    fn read(&mut self, option: &[u8], value: &Bytes) -> Result<(), CommandError> {
        let is = |text: &str| option.eq_ignore_ascii_case(text.as_bytes());
        let value_is = |text: &str| value.eq_ignore_ascii_case(text.as_bytes());
        if is("ID") {
            let id = integer::parse(value).and_then(|id| u64::try_from(id).ok());
            self.id = Some(id.filter(|&id| id > 0).ok_or(CommandError::KillId)?);
        } else if is("TYPE") {
            self.is_of_absent_kind = !is_normal_kind(value)?;
        } else if is("USER") {
            self.user = Some(value.clone());
        } else if is("ADDR") {
            self.address = Some(value.clone());
        } else if is("LADDR") {
            self.local_address = Some(value.clone());
        } else if is("SKIPME") && (value_is("yes") || value_is("no")) {
            self.skips_me = value_is("yes");
        } else {
            return Err(CommandError::Syntax);
        }
        Ok(())
    }
}

/// Whether a kind of clients is that of ordinary ones; the others that Redis knows are never there.
pub(crate) fn is_normal_kind(kind: &[u8]) -> Result<bool, CommandError> {
    let is = |text: &&str| kind.eq_ignore_ascii_case(text.as_bytes());
    if is(&"normal") {
        Ok(true)
    } else if ["master", "replica", "slave", "pubsub"].iter().any(is) {
        Ok(false)
    } else {
        Err(CommandError::ClientKind(shown(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::request;

    fn parse(line: &str) -> Result<Kill, String> {
        Kill::parse(&request(line).args).map_err(|error| error.to_string())
    }

    #[test]
    fn filters_as_redis_takes_them() {
        // Lost without it: a mistyped filter would end every connection there is.
        let all = Kill::parse(&[]).unwrap();
        let given = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        let by_address = Kill {
            is_by_address: true,
            address: given("1.2.3.4:5"),
            skips_me: false,
            ..all.clone()
        };
        assert_eq!(parse("1.2.3.4:5"), Ok(by_address));
        let several = Kill {
            id: Some(7),
            user: given("ann"),
            address: given("a:1"),
            local_address: given("b:2"),
            skips_me: false,
            ..all.clone()
        };
        assert_eq!(
            parse("id 7 user ann ADDR a:1 LAddr b:2 SKIPME no TYPE normal"),
            Ok(several)
        );
        let absent = Kill {
            is_of_absent_kind: true,
            ..all
        };
        assert_eq!(parse("TYPE PubSub SKIPME yes"), Ok(absent));
        for (line, error) in [
            ("ID 0", "ERR client-id should be greater than 0"),
            ("ID x", "ERR client-id should be greater than 0"),
            ("TYPE foo", "ERR Unknown client type 'foo'"),
            ("SKIPME maybe", "ERR syntax error"),
            ("FOO bar", "ERR syntax error"),
            ("ID 1 ADDR", "ERR syntax error"),
        ] {
            assert_eq!(parse(line), Err(error.to_owned()), "{line}");
        }
    }
}
