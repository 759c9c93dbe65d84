//! This file answers: which words does an inline line hold?
//!
//! As Redis' `sdssplitargs`: words parted by white space; "double quotes" know `\n \r \t \b \a \xHH` and `\` before any
//! other byte; 'single quotes' know `\'` alone. A closing quote ends its word, so `"a"b` is an error.

use bytes::Bytes;

use crate::frame::{Args, ProtocolError};

/// The words of `line` (without its line end), at most `max` of them. Words without quotes are slices of it.
pub(crate) fn words(line: &Bytes, max: usize) -> Result<Args, ProtocolError> {
    let mut args = Args::new();
    let mut at = 0;
    loop {
        while at < line.len() && is_space(line[at]) {
            at += 1;
        }
        if at == line.len() {
            return Ok(args);
        }
        if args.len() == max {
            return Err(ProtocolError::TooBigInline);
        }
        let start = at;
        while at < line.len() && !ends_word(line[at]) && !is_quote(line[at]) {
            at += 1;
        }
        if at == line.len() || ends_word(line[at]) {
            args.push(line.slice(start..at));
        } else {
            let mut word = line[start..at].to_vec();
            at = quoted_word(line, at, &mut word)?;
            args.push(word.into());
        }
    }
}

/// Goes on with a word that has a quote at `at`; the answer is where it ends.
fn quoted_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    while at < line.len() {
        match line[at] {
            b'"' => return double_quoted(line, at + 1, word),
            b'\'' => return single_quoted(line, at + 1, word),
            byte if ends_word(byte) => break,
            byte => word.push(byte),
        }
        at += 1;
    }
    Ok(at)
}

fn double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        match &line[at..] {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', rest @ ..] => return closed(at + 1, rest),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    loop {
        match &line[at..] {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', rest @ ..] => return closed(at + 1, rest),
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

fn closed(at: usize, rest: &[u8]) -> Result<usize, ProtocolError> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(at),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// C's `isspace`: what is skipped between words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What ends a word: narrower than `isspace`, as in Redis.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let args = words(&Bytes::copy_from_slice(line), 8)?;
        Ok(args.iter().map(|word| word.to_vec()).collect())
    }

    #[test]
    fn words_as_redis_splits_them() {
        // Lost without it: what people type into telnet would reach the store with its quotes, or cut at them.
        // The expectations were taken from redis-server 7.0.15.
        let table: [(&[u8], &[&[u8]]); 14] = [
            (b"", &[]),
            (b" \t ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a\tb ", &[b"set", b"a", b"b"]),
            (b"set a 'b\\'c'", &[b"set", b"a", b"b'c"]),
            (b"set a \"\\x41\\n\"", &[b"set", b"a", b"A\n"]),
            (b"PING \"a\\x4g\"", &[b"PING", b"ax4g"]),
            (b"PING 'a\\n'", &[b"PING", b"a\\n"]),
            (b"PING a\"b c\"", &[b"PING", b"ab c"]),
            (b"PING a'b c'", &[b"PING", b"ab c"]),
            (b"PING \"\" ''", &[b"PING", b"", b""]),
            (b"GET a\rb", &[b"GET", b"a", b"b"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (b"a\\ b", &[b"a\\", b"b"]),
        ];
        for (line, expected) in table {
            assert_eq!(
                split(line).unwrap(),
                expected,
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
        for line in [
            &b"set a \"b"[..],
            b"set a \"b\"c",
            b"PING 'a\"",
            b"'a'b",
            b"\"a\\",
        ] {
            assert_eq!(split(line), Err(ProtocolError::UnbalancedQuotes));
        }
        assert_eq!(
            split(b"1 2 3 4 5 6 7 8 9"),
            Err(ProtocolError::TooBigInline)
        );
    }
}
