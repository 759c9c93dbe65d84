//! This file answers: what do the options of SET ask for?

use bytes::Bytes;

use crate::{CommandError, integer};

/// What SET does besides setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetOptions {
    /// When the value expires.
    pub expire: Expire,
    /// NX or XX.
    pub condition: Option<Condition>,
    /// Answer with the value before.
    pub get: bool,
}

/// When a value that is set expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expire {
    /// Never: a deadline that the key had is gone.
    #[default]
    Never,
    /// KEEPTTL: as the key had it.
    Keep,
    /// EXAT, PXAT: at this time, in ms since 1970. It may have passed: then the key is gone at once.
    At(u64),
    /// EX, PX: so many ms from now. Now and this together do not exceed `i64::MAX`.
    In(u64),
}

/// When SET sets at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// NX: only where nothing is.
    IfAbsent,
    /// XX: only where something is.
    IfPresent,
}

/// Redis refuses a time to live that ends beyond `i64::MAX` ms. This file has no clock: it leaves room for any now
/// until the year 10889.
const MAX_IN_MS: i64 = i64::MAX - (1 << 48);

impl SetOptions {
    /// Reads what follows key and value.
    pub(crate) fn parse(options: &[Bytes]) -> Result<SetOptions, CommandError> {
        let mut parsed = SetOptions::default();
        let mut deadline: Option<(Unit, &Bytes)> = None;
        let mut options = options.iter();
        // as Redis: all options are looked at before a number is
        while let Some(option) = options.next() {
            let is = |text: &str| option.eq_ignore_ascii_case(text.as_bytes());
            let unit = Unit::named(option);
            if is("NX") && parsed.condition != Some(Condition::IfPresent) {
                parsed.condition = Some(Condition::IfAbsent);
            } else if is("XX") && parsed.condition != Some(Condition::IfAbsent) {
                parsed.condition = Some(Condition::IfPresent);
            } else if is("GET") {
                parsed.get = true;
            } else if is("KEEPTTL") && deadline.is_none() {
                parsed.expire = Expire::Keep;
            } else if let Some(unit) = unit
                && parsed.expire != Expire::Keep
                && deadline.is_none_or(|(before, _)| before == unit)
            {
                deadline = Some((unit, options.next().ok_or(CommandError::Syntax)?));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if let Some((unit, number)) = deadline {
            parsed.expire = unit.expire(number)?;
        }
        Ok(parsed)
    }

    /// On an eventual keyspace: refuses what needs all replicas to agree, and says what helps.
    pub fn check_eventual(&self, keyspace: &str) -> Result<(), CommandError> {
        let what = match self.condition {
            Some(Condition::IfAbsent) => "SET NX",
            Some(Condition::IfPresent) => "SET XX",
            None if self.get => "SET GET",
            None => return Ok(()),
        };
        Err(CommandError::NeedsConsistency {
            what,
            keyspace: keyspace.to_owned(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Ex,
    Px,
    ExAt,
    PxAt,
}

impl Unit {
    fn named(option: &[u8]) -> Option<Unit> {
        let units = [
            ("EX", Unit::Ex),
            ("PX", Unit::Px),
            ("EXAT", Unit::ExAt),
            ("PXAT", Unit::PxAt),
        ];
        units
            .into_iter()
            .find(|(text, _)| option.eq_ignore_ascii_case(text.as_bytes()))
            .map(|(_, unit)| unit)
    }

    fn expire(self, number: &[u8]) -> Result<Expire, CommandError> {
        let invalid = CommandError::InvalidExpire("set");
        let number = integer::parse(number).ok_or(CommandError::NotInteger)?;
        let ms = match self {
            Unit::Ex | Unit::ExAt => number.checked_mul(1000),
            Unit::Px | Unit::PxAt => Some(number),
        };
        let limit = match self {
            Unit::Ex | Unit::Px => MAX_IN_MS,
            Unit::ExAt | Unit::PxAt => i64::MAX,
        };
        let ms = match ms {
            Some(ms) if (1..=limit).contains(&ms) => ms.unsigned_abs(),
            _ => return Err(invalid),
        };
        Ok(match self {
            Unit::Ex | Unit::Px => Expire::In(ms),
            Unit::ExAt | Unit::PxAt => Expire::At(ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::request;

    fn parse(options: &str) -> Result<SetOptions, CommandError> {
        SetOptions::parse(&request(options).args)
    }

    #[test]
    fn options_as_redis_takes_them() {
        // Lost without it: a value could live too long, too short or for ever; taken from redis-server 7.0.15.
        let expire = |expire| {
            Ok(SetOptions {
                expire,
                ..SetOptions::default()
            })
        };
        let invalid = || Err(CommandError::InvalidExpire("set"));
        let table = [
            ("", Ok(SetOptions::default())),
            ("EX 10", expire(Expire::In(10_000))),
            ("px 10", expire(Expire::In(10))),
            ("ExAt 1", expire(Expire::At(1_000))),
            ("PXAT 1", expire(Expire::At(1))),
            (
                "PXAT 9223372036854775807",
                expire(Expire::At(i64::MAX as u64)),
            ),
            ("KEEPTTL keepttl", expire(Expire::Keep)),
            ("EX 5 EX 6", expire(Expire::In(6_000))),
            ("EX", Err(CommandError::Syntax)),
            ("c", Err(CommandError::Syntax)),
            ("EX 10 PX 10", Err(CommandError::Syntax)),
            ("EX 10 KEEPTTL", Err(CommandError::Syntax)),
            ("KEEPTTL EX 10", Err(CommandError::Syntax)),
            ("NX XX", Err(CommandError::Syntax)),
            ("EX x FOO", Err(CommandError::Syntax)),
            ("EX x", Err(CommandError::NotInteger)),
            ("EX +10", Err(CommandError::NotInteger)),
            ("EX 010", Err(CommandError::NotInteger)),
            ("EX 0", invalid()),
            ("EX -1", invalid()),
            ("PXAT 0", invalid()),
            ("EX 9223372036854775807", invalid()),
            ("PX 9223372036854775807", invalid()),
            ("EXAT 9223372036854775807", invalid()),
        ];
        for (options, expected) in table {
            assert_eq!(parse(options), expected, "{options}");
        }
    }

    #[test]
    fn what_needs_agreement_is_refused_with_the_remedy() {
        // Lost without it: a lock by SET NX that two clients hold at once, the worst trap of an eventual store.
        for (options, what) in [
            ("NX", "SET NX"),
            ("XX GET", "SET XX"),
            ("GET EX 1", "SET GET"),
        ] {
            let error = parse(options)
                .unwrap()
                .check_eventual("default")
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "ERR {what} needs a consistent answer and keyspace 'default' is eventual: use plain SET, or a \
                     keyspace with allow_read_modify_write"
                )
            );
        }
        assert_eq!(parse("EX 1").unwrap().check_eventual("default"), Ok(()));
    }
}
