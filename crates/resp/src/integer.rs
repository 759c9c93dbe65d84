//! This file answers: which bytes are an integer to Redis?
//!
//! Stricter than Rust's own parser, as `string2ll`: no sign but a minus, no leading zero, no space, no `-0`.

/// The integer that `text` is, the whole of it.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [] => return None,
        [b'0'] if digits.len() == text.len() => return Some(0),
        [b'0', ..] => return None,
        _ => {}
    }
    // Below zero, where there is one number more.
    let negated = digits.iter().try_fold(0_i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_sub(digit)
    })?;
    if digits.len() == text.len() {
        negated.checked_neg()
    } else {
        Some(negated)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn as_strict_as_redis() {
        // Lost without it: lengths and options that Redis refuses would be taken here, and the reverse.
        let table: [(&str, Option<i64>); 16] = [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("-01", None),
            (" 1", None),
            ("1 ", None),
            ("1x", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
    }
}
