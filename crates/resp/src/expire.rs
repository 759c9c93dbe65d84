//! This file answers: until when is a key to live, as EXPIRE, its kin and GETEX put it?

use bytes::Bytes;

use crate::error::shown;
use crate::{CommandError, integer};

/// A point in time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// So long from now; negative: so long ago.
    In(i64),
    /// Since 1970; negative: before.
    Unix(i64),
}

impl At {
    /// In unix milliseconds, where now is `now_ms`. What lies before 1970 is 1970: long ago either way.
    pub fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            At::In(ms) => now_ms.saturating_add_signed(ms),
            At::Unix(ms) => u64::try_from(ms).unwrap_or(0),
        }
    }
}

/// On which condition a deadline is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpireIf {
    /// On none.
    #[default]
    Always,
    /// NX: only where none is.
    Unset,
    /// XX: only where one is.
    Set,
    /// GT, also with XX: only where an earlier one is.
    Later,
    /// LT: only where a later one is, or none.
    Sooner,
    /// XX and LT: only where a later one is.
    SetAndSooner,
}

/// How a command counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Its name, for errors.
    pub(crate) command: &'static str,
    pub(crate) in_seconds: bool,
    pub(crate) from_now: bool,
}

/// Redis refuses a deadline beyond `i64::MAX` ms. This file has no clock: it leaves room for any now until the year 10889.
const MAX_IN_MS: i64 = i64::MAX - (1 << 48);

impl Unit {
    pub(crate) fn at(self, number: &[u8]) -> Result<At, CommandError> {
        let invalid = || CommandError::InvalidExpire(self.command);
        let number = integer::parse(number).ok_or(CommandError::NotInteger)?;
        let ms = match self.in_seconds {
            true => number.checked_mul(1_000).ok_or_else(invalid)?,
            false => number,
        };
        match self.from_now {
            true if ms > MAX_IN_MS => Err(invalid()),
            true => Ok(At::In(ms)),
            false => Ok(At::Unix(ms)),
        }
    }

    /// Where only what lies ahead of zero is taken, as by SET and GETEX.
    pub(crate) fn positive(self, number: &[u8]) -> Result<At, CommandError> {
        match self.at(number)? {
            At::In(..=0) | At::Unix(..=0) => Err(CommandError::InvalidExpire(self.command)),
            at => Ok(at),
        }
    }
}

/// Reads what follows key and number of EXPIRE. As Redis, all options are looked at before the number is.
pub(crate) fn condition(options: &[Bytes]) -> Result<ExpireIf, CommandError> {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in options {
        let flags = [
            ("NX", &mut nx),
            ("XX", &mut xx),
            ("GT", &mut gt),
            ("LT", &mut lt),
        ];
        let mut named = flags.into_iter();
        match named.find(|(text, _)| option.eq_ignore_ascii_case(text.as_bytes())) {
            Some((_, flag)) => *flag = true,
            None => return Err(CommandError::ExpireOption(shown(option))),
        }
    }
    match (nx, xx, gt, lt) {
        (true, true, ..) | (true, _, true, _) | (true, _, _, true) => Err(CommandError::ExpireNx),
        (_, _, true, true) => Err(CommandError::ExpireGtLt),
        (true, ..) => Ok(ExpireIf::Unset),
        (_, _, true, _) => Ok(ExpireIf::Later),
        (_, true, _, true) => Ok(ExpireIf::SetAndSooner),
        (_, _, _, true) => Ok(ExpireIf::Sooner),
        (_, true, ..) => Ok(ExpireIf::Set),
        _ => Ok(ExpireIf::Always),
    }
}

/// What GETEX does besides reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GetEx {
    /// Nothing.
    Read,
    /// PERSIST
    Persist,
    /// EX, PX, EXAT, PXAT. An error is told only if the key is there, as Redis does.
    Expire(Result<At, CommandError>),
}

impl GetEx {
    /// Reads what follows the key.
    pub(crate) fn parse(options: &[Bytes]) -> Result<GetEx, CommandError> {
        let mut parsed = GetEx::Read;
        let mut before = None;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let is = |text: &str| option.eq_ignore_ascii_case(text.as_bytes());
            let unit = match () {
                () if is("EX") => (true, true),
                () if is("PX") => (false, true),
                () if is("EXAT") => (true, false),
                () if is("PXAT") => (false, false),
                () if is("PERSIST") && before.is_none() => {
                    parsed = GetEx::Persist;
                    continue;
                }
                () => return Err(CommandError::Syntax),
            };
            let number = options.next().ok_or(CommandError::Syntax)?;
            if parsed == GetEx::Persist || before.is_some_and(|before| before != unit) {
                return Err(CommandError::Syntax);
            }
            before = Some(unit);
            let (in_seconds, from_now) = unit;
            let unit = Unit {
                command: "getex",
                in_seconds,
                from_now,
            };
            parsed = GetEx::Expire(unit.positive(number));
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::request;

    #[test]
    fn conditions_as_redis_takes_them() {
        // Lost without it: a lease that is to be prolonged only is cut short; the texts are from redis-server 7.0.15.
        let of = |options: &str| condition(&request(options).args).map_err(|e| e.to_string());
        let nx = "ERR NX and XX, GT or LT options at the same time are not compatible";
        let gt_lt = "ERR GT and LT options at the same time are not compatible";
        let table = [
            ("", Ok(ExpireIf::Always)),
            ("nx NX", Ok(ExpireIf::Unset)),
            ("xx", Ok(ExpireIf::Set)),
            ("GT", Ok(ExpireIf::Later)),
            ("XX GT", Ok(ExpireIf::Later)),
            ("LT", Ok(ExpireIf::Sooner)),
            ("lt xx", Ok(ExpireIf::SetAndSooner)),
            ("NX XX", Err(nx)),
            ("GT NX", Err(nx)),
            ("NX LT", Err(nx)),
            ("GT LT", Err(gt_lt)),
            ("NX foo", Err("ERR Unsupported option foo")),
        ];
        for (options, expected) in table {
            assert_eq!(of(options), expected.map_err(str::to_owned), "{options}");
        }
    }

    #[test]
    fn times_as_redis_takes_them() {
        // Lost without it: a key that is to end in a week ends at once, or a number that overflows means another time.
        let unit = |in_seconds, from_now| Unit {
            command: "expire",
            in_seconds,
            from_now,
        };
        let invalid = || Err(CommandError::InvalidExpire("expire"));
        let table = [
            (true, true, "10", Ok(At::In(10_000))),
            (true, true, "-1", Ok(At::In(-1_000))),
            (false, true, "10", Ok(At::In(10))),
            (true, false, "10", Ok(At::Unix(10_000))),
            (false, false, "-10", Ok(At::Unix(-10))),
            (true, true, "9223372036854775", invalid()),
            (true, true, "9223372036854776", invalid()),
            (true, false, "-9223372036854776", invalid()),
            (false, true, "9223372036854775807", invalid()),
            (false, true, "-9223372036854775808", Ok(At::In(i64::MIN))),
            (false, false, "9223372036854775807", Ok(At::Unix(i64::MAX))),
            (false, true, "1.5", Err(CommandError::NotInteger)),
        ];
        for (in_seconds, from_now, number, expected) in table {
            let at = unit(in_seconds, from_now).at(number.as_bytes());
            assert_eq!(at, expected, "{in_seconds} {from_now} {number}");
        }
        assert_eq!(At::In(-5).unix_ms(100), 95);
        assert_eq!(At::In(i64::MIN).unix_ms(100), 0);
        assert_eq!(At::Unix(-5).unix_ms(100), 0);
        assert_eq!(At::Unix(7).unix_ms(100), 7);
    }

    #[test]
    fn getex_as_redis_takes_it() {
        // Lost without it: a session that is read and prolonged ends at once, or never.
        let of = |options: &str| GetEx::parse(&request(options).args);
        let expire = |at| Ok(GetEx::Expire(Ok(at)));
        let told_later = |error| Ok(GetEx::Expire(Err(error)));
        let table = [
            ("", Ok(GetEx::Read)),
            ("persist", Ok(GetEx::Persist)),
            ("EX 5", expire(At::In(5_000))),
            ("EX 5 EX 6", expire(At::In(6_000))),
            ("pxat 5", expire(At::Unix(5))),
            ("EX 0", told_later(CommandError::InvalidExpire("getex"))),
            ("EX x", told_later(CommandError::NotInteger)),
            ("EX", Err(CommandError::Syntax)),
            ("EX 5 PERSIST", Err(CommandError::Syntax)),
            ("PERSIST EX 5", Err(CommandError::Syntax)),
            ("EX 5 PX 5", Err(CommandError::Syntax)),
            ("KEEPTTL", Err(CommandError::Syntax)),
        ];
        for (options, expected) in table {
            assert_eq!(of(options), expected, "{options}");
        }
    }
}
