//! This file answers: what do the options of the `RKV.` commands ask for?
//!
//! Numbers are passed on as they are: whether n, r and w make sense together is judged in one place, the quorum's.
//! Unlike Redis, an option given twice is an error, and an error names the option and the command's usage.

use bytes::Bytes;

use crate::error::shown;
use crate::{CommandError, Name, integer};

/// What follows an `RKV.` command's key (and value); none is the keyspace's own. Each command takes those options that
/// its row of the table shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// N: the first n of the row take part.
    pub n: Option<u32>,
    /// R: answers that a read waits for.
    pub r: Option<u32>,
    /// W: answers that a write waits for.
    pub w: Option<u32>,
    /// PR: how many of a read's must be owners.
    pub pr: Option<u32>,
    /// PW: how many of a write's must be owners.
    pub pw: Option<u32>,
    /// TIMEOUT, more than 0.
    pub timeout_ms: Option<u64>,
    /// CONTEXT: what a get gave, handed back.
    pub context: Option<Bytes>,
    /// KEYSPACE: another one than the connection's, by name.
    pub keyspace: Option<Bytes>,
}

impl Options {
    pub(crate) fn parse(name: Name, options: &[Bytes]) -> Result<Options, CommandError> {
        let mut parsed = Options::default();
        for pair in options.chunks(2) {
            let wrong = || CommandError::Usage {
                option: shown(&pair[0]),
                usage: format!(
                    "{} {}",
                    name.spec().text.to_ascii_uppercase(),
                    name.spec().usage
                ),
            };
            let [option, value] = pair else {
                return Err(wrong());
            };
            let known = ALL
                .into_iter()
                .find(|known| option.eq_ignore_ascii_case(known.text().as_bytes()));
            match known {
                Some(known) if known.is_for(name) && !known.is_in(&parsed) => {
                    known.read(value, &mut parsed)?
                }
                _ => return Err(wrong()),
            }
        }
        Ok(parsed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    N,
    R,
    W,
    Pr,
    Pw,
    Timeout,
    Context,
    Keyspace,
}

const ALL: [Known; 8] = [
    Known::N,
    Known::R,
    Known::W,
    Known::Pr,
    Known::Pw,
    Known::Timeout,
    Known::Context,
    Known::Keyspace,
];

impl Known {
    fn text(self) -> &'static str {
        match self {
            Known::N => "N",
            Known::R => "R",
            Known::W => "W",
            Known::Pr => "PR",
            Known::Pw => "PW",
            Known::Timeout => "TIMEOUT",
            Known::Context => "CONTEXT",
            Known::Keyspace => "KEYSPACE",
        }
    }

    fn is_for(self, name: Name) -> bool {
        match self {
            Known::R | Known::Pr => name == Name::RkvGet,
            Known::W | Known::Pw | Known::Context => matches!(name, Name::RkvPut | Name::RkvDelete),
            Known::N | Known::Timeout => {
                matches!(name, Name::RkvGet | Name::RkvPut | Name::RkvDelete)
            }
            Known::Keyspace => true,
        }
    }

    fn is_in(self, options: &Options) -> bool {
        match self {
            Known::N => options.n.is_some(),
            Known::R => options.r.is_some(),
            Known::W => options.w.is_some(),
            Known::Pr => options.pr.is_some(),
            Known::Pw => options.pw.is_some(),
            Known::Timeout => options.timeout_ms.is_some(),
            Known::Context => options.context.is_some(),
            Known::Keyspace => options.keyspace.is_some(),
        }
    }

    fn read(self, value: &Bytes, into: &mut Options) -> Result<(), CommandError> {
        let count = || {
            let number = integer::parse(value).and_then(|number| u32::try_from(number).ok());
            number.ok_or(CommandError::NotInteger).map(Some)
        };
        match self {
            Known::N => into.n = count()?,
            Known::R => into.r = count()?,
            Known::W => into.w = count()?,
            Known::Pr => into.pr = count()?,
            Known::Pw => into.pw = count()?,
            Known::Timeout => {
                let ms = integer::parse(value)
                    .and_then(|ms| u64::try_from(ms).ok())
                    .filter(|&ms| ms > 0);
                into.timeout_ms = Some(ms.ok_or(CommandError::NotTimeout)?);
            }
            Known::Context => into.context = Some(value.clone()),
            Known::Keyspace => into.keyspace = Some(value.clone()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::request;

    fn parse(name: Name, options: &str) -> Result<Options, CommandError> {
        Options::parse(name, &request(options).args)
    }

    #[test]
    fn options_of_each_command() {
        // Lost without it: a quorum that was asked for would be another one.
        assert_eq!(parse(Name::RkvPut, ""), Ok(Options::default()));
        assert_eq!(
            parse(
                Name::RkvPut,
                "n 3 W 2 Pw 1 TIMEOUT 250 CONTEXT abc KEYSPACE users"
            ),
            Ok(Options {
                n: Some(3),
                w: Some(2),
                pw: Some(1),
                timeout_ms: Some(250),
                context: Some("abc".into()),
                keyspace: Some("users".into()),
                ..Options::default()
            })
        );
        assert_eq!(
            parse(Name::RkvGet, "R 0 PR 4294967295"),
            Ok(Options {
                r: Some(0),
                pr: Some(u32::MAX),
                ..Options::default()
            })
        );
        for (name, options) in [
            (Name::RkvPut, "R 1"),
            (Name::RkvGet, "W 1"),
            (Name::RkvGet, "CONTEXT c"),
            (Name::RkvDelete, "PR 1"),
            (Name::RkvReplicas, "N 1"),
            (Name::RkvPut, "W"),
            (Name::RkvPut, "W 1 W 2"),
            (Name::RkvPut, "FOO 1"),
        ] {
            assert!(
                matches!(parse(name, options), Err(CommandError::Usage { .. })),
                "{options}"
            );
        }
        for options in ["W x", "W -1", "W 4294967296", "W 01"] {
            assert_eq!(parse(Name::RkvPut, options), Err(CommandError::NotInteger));
        }
        for options in ["TIMEOUT 0", "TIMEOUT -1", "TIMEOUT soon"] {
            assert_eq!(parse(Name::RkvPut, options), Err(CommandError::NotTimeout));
        }
    }

    #[test]
    fn errors_show_the_usage() {
        // Lost without it: nobody could tell from "syntax error" what a command that only we have takes.
        assert_eq!(
            parse(Name::RkvReplicas, "W 1").unwrap_err().to_string(),
            "ERR syntax error at 'W', usage: RKV.REPLICAS key [KEYSPACE k]"
        );
    }
}
