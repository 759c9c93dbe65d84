//! This file answers: do two replies agree, as a line wants them to?

use bytes::BytesMut;
use rkv_resp::command::by_text;
use rkv_resp::refusals::text_for;
use rkv_resp::{Reply, ReplyLimits, ReplyParser};

use super::script::{How, Line};

/// How much of a reply is shown.
const SHOWN: usize = 600;

/// What came of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They agree.
    Same,
    /// They are not compared.
    Skipped,
    /// They do not.
    Differs(String),
}

/// Compares what redis-server and rkv replied, as raw bytes.
pub fn compare(line: &Line, expected: &[u8], got: &[u8]) -> Verdict {
    let agree = match &line.how {
        How::NotCompared => return Verdict::Skipped,
        How::Differs if is_listed(line) => return Verdict::Skipped,
        How::Differs => {
            let why = "says that it differs, and the table of commands does not say how";
            return Verdict::Differs(why.to_owned());
        }
        How::Exact => expected == got,
        How::Unordered => sorted(parsed(expected)) == sorted(parsed(got)),
        How::Shape => shape(&parsed(expected)) == shape(&parsed(got)),
        How::Fields(names) => {
            let has = |reply: &[u8]| {
                let text = String::from_utf8_lossy(reply).into_owned();
                let is_there = |name: &String| {
                    let begins = format!("{name}:");
                    text.lines()
                        .any(|line| line.trim_start_matches("txt:").starts_with(&begins))
                };
                names.iter().all(is_there)
            };
            has(expected) && has(got) && expected.first() == got.first()
        }
    };
    if agree {
        Verdict::Same
    } else {
        Verdict::Differs(format!("expected {} got {}", shown(expected), shown(got)))
    }
}

/// Whether the table of commands tells how the line's command differs.
fn is_listed(line: &Line) -> bool {
    let Some(name) = line.words.first() else {
        return false;
    };
    let subcommand = line.words.get(1).map_or(&b""[..], |word| word);
    let whole = [name, &b"|"[..], subcommand].concat();
    let spec = by_text(&whole).or_else(|| by_text(name));
    let differs = spec.is_some_and(|spec| !spec.differences.is_empty());
    differs || text_for(name).is_some()
}

fn parsed(reply: &[u8]) -> Option<Reply> {
    let mut parser = ReplyParser::new(ReplyLimits::default());
    parser.next(&mut BytesMut::from(reply)).ok().flatten()
}

/// The reply with everything in it in one order. RESP2 has no maps: there, names and values are sorted alike on both
/// sides.
fn sorted(reply: Option<Reply>) -> Option<String> {
    fn text(reply: &Reply) -> String {
        let all = |items: &[Reply]| {
            let mut items: Vec<String> = items.iter().map(text).collect();
            items.sort();
            items.join(" ")
        };
        match reply {
            Reply::Array(items) => format!("*{}[{}]", items.len(), all(items)),
            Reply::Set(items) => format!("~{}[{}]", items.len(), all(items)),
            Reply::Map(pairs) => {
                let pairs: Vec<Reply> = pairs
                    .iter()
                    .map(|(key, value)| Reply::Array(vec![key.clone(), value.clone()]))
                    .collect();
                format!("%[{}]", all(&pairs))
            }
            other => format!("{other:?}"),
        }
    }
    reply.as_ref().map(text)
}

/// Types, and how long arrays are.
fn shape(reply: &Option<Reply>) -> Option<String> {
    fn of(reply: &Reply) -> String {
        let all = |items: &[Reply]| items.iter().map(of).collect::<Vec<_>>().join(" ");
        match reply {
            Reply::Simple(_) => "+".to_owned(),
            Reply::Error(_) => "-".to_owned(),
            Reply::Integer(_) => ":".to_owned(),
            Reply::Bulk(_) => "$".to_owned(),
            Reply::Null => "_".to_owned(),
            Reply::Array(items) => format!("*[{}]", all(items)),
            Reply::Set(items) => format!("~[{}]", all(items)),
            Reply::Map(pairs) => {
                let pair = |(key, value): &(Reply, Reply)| format!("{}{}", of(key), of(value));
                format!("%[{}]", pairs.iter().map(pair).collect::<String>())
            }
            Reply::Double(_) => ",".to_owned(),
            Reply::Verbatim(_) => "=".to_owned(),
            Reply::Bool(_) => "#".to_owned(),
            Reply::Written(_) => "?".to_owned(),
        }
    }
    reply.as_ref().map(of)
}

fn shown(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(&reply[..reply.len().min(SHOWN)]);
    format!("{text:?}")
}

#[cfg(test)]
mod tests {
    use super::super::script::Script;
    use super::*;

    fn verdict(line: &str, expected: &str, got: &str) -> bool {
        let script = Script::parse("t", line).unwrap();
        compare(&script.lines[0], expected.as_bytes(), got.as_bytes()) == Verdict::Same
    }

    #[test]
    fn replies_are_compared_as_the_line_says() {
        // Lost without it: a comparison that finds every reply equal.
        assert!(verdict("PING", "+PONG\r\n", "+PONG\r\n"));
        assert!(!verdict("PING", "+PONG\r\n", "$4\r\nPONG\r\n"));
        let (ab, ba) = (
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n",
            "*2\r\n$1\r\nb\r\n$1\r\na\r\n",
        );
        assert!(!verdict("X", ab, ba) && verdict("[unordered] X", ab, ba));
        assert!(!verdict(
            "[unordered] X",
            ab,
            "*2\r\n$1\r\na\r\n$1\r\na\r\n"
        ));
        assert!(verdict("[shape] X", ab, "*2\r\n$3\r\nabc\r\n$0\r\n\r\n"));
        assert!(!verdict("[shape] X", ab, "*1\r\n$3\r\nabc\r\n"));
        let info = "$10\r\na:1\r\nbc:2\r\n\r\n";
        assert!(verdict("[fields a,bc] INFO", info, info));
        assert!(!verdict("[fields a,c] INFO", info, info));
        let unlisted = Script::parse("t", "[differs] GET a").unwrap();
        let told = compare(&unlisted.lines[0], b"", b"");
        assert!(matches!(told, Verdict::Differs(_)), "{told:?}");
    }
}
