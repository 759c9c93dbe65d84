//! This file answers: what does a line of a script say?
//!
//! A command as people type it, words in double quotes with `\r`, `\n`, `\x00` and `\"` in them. In front of it, in
//! brackets, may stand how its replies are compared:
//!
//! - nothing: byte by byte
//! - `[unordered]` arrays, sets and maps whatever their order
//! - `[shape]` types and lengths of arrays, not what is in them: times, ids
//! - `[fields a,b]` a text that has these fields, `name:value` a line
//! - `[differs]` not compared: the table of commands says how it differs
//! - `[newer]` not compared: the reference does not know it yet
//! - `[quiet]` not compared: it only prepares
//! - `[raw]` these very bytes, compared byte by byte
//!
//! Lines of `#` are for people. Lines of `@` are for the runner: `@cluster` compares with a redis-server in cluster mode,
//! `@password WORD` starts both sides with one, `@fresh` goes on with a new connection.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// One file of commands.
#[derive(Debug)]
pub struct Script {
    /// The file's name.
    pub name: String,
    /// The reference is in cluster mode.
    pub is_for_cluster: bool,
    /// Both sides want it.
    pub password: Option<String>,
    /// The commands.
    pub lines: Vec<Line>,
}

/// One command.
#[derive(Debug)]
pub struct Line {
    /// Its number in the file.
    pub number: usize,
    /// As it stands there.
    pub text: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// The command's words; none of a raw line.
    pub words: Vec<Vec<u8>>,
    /// How replies are compared.
    pub how: How,
    /// `@fresh` stood before it.
    pub is_on_a_new_connection: bool,
}

/// How two replies are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the file's head says what each is")]
pub enum How {
    Exact,
    Unordered,
    Shape,
    Fields(Vec<String>),
    Differs,
    NotCompared,
}

impl Script {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Script> {
        let text = std::fs::read_to_string(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Script::parse(&name, &text).with_context(|| path.display().to_string())
    }

    /// Reads a text.
    pub fn parse(name: &str, text: &str) -> Result<Script> {
        let mut script = Script {
            name: name.to_owned(),
            is_for_cluster: false,
            password: None,
            lines: Vec::new(),
        };
        let mut is_fresh = false;
        for (at, text) in text.lines().enumerate() {
            let text = text.trim();
            match text.split_once(' ').unwrap_or((text, "")) {
                ("", _) => {}
                (mark, _) if mark.starts_with('#') => {}
                ("@cluster", "") => script.is_for_cluster = true,
                ("@password", word) => script.password = Some(word.to_owned()),
                ("@fresh", "") => is_fresh = true,
                _ => {
                    let line = line(at + 1, text, std::mem::take(&mut is_fresh));
                    script
                        .lines
                        .push(line.with_context(|| format!("line {}", at + 1))?);
                }
            }
        }
        Ok(script)
    }
}

fn line(number: usize, text: &str, is_on_a_new_connection: bool) -> Result<Line> {
    let (mark, command) = match text.strip_prefix('[') {
        Some(marked) => {
            let (mark, command) = marked.split_once(']').context("a bracket is not closed")?;
            (mark, command.trim_start())
        }
        None => ("", text),
    };
    let how = match mark.split_once(' ').unwrap_or((mark, "")) {
        ("" | "raw", "") => How::Exact,
        ("unordered", "") => How::Unordered,
        ("shape", "") => How::Shape,
        ("fields", names) => How::Fields(names.split(',').map(str::to_owned).collect()),
        ("differs", "") => How::Differs,
        ("newer" | "quiet", "") => How::NotCompared,
        _ => bail!("[{mark}] is no way to compare"),
    };
    let mut words = words(command)?;
    let bytes = if mark == "raw" {
        words.drain(..).flatten().collect()
    } else {
        request(&words)
    };
    Ok(Line {
        number,
        text: text.to_owned(),
        bytes,
        words,
        how,
        is_on_a_new_connection,
    })
}

fn request(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn words(text: &str) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut bytes = text.bytes().peekable();
    while let Some(&byte) = bytes.peek() {
        if byte == b' ' {
            bytes.next();
        } else if byte == b'"' {
            bytes.next();
            words.push(quoted(&mut bytes)?);
        } else {
            let mut word = Vec::new();
            while let Some(byte) = bytes.next_if(|&byte| byte != b' ') {
                word.push(byte);
            }
            words.push(word);
        }
    }
    Ok(words)
}

fn quoted(bytes: &mut impl Iterator<Item = u8>) -> Result<Vec<u8>> {
    let mut word = Vec::new();
    loop {
        match bytes.next().context("a quote is not closed")? {
            b'"' => return Ok(word),
            b'\\' => match bytes.next().context("nothing follows a backslash")? {
                b'r' => word.push(b'\r'),
                b'n' => word.push(b'\n'),
                b'x' => {
                    let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                    ensure!(digits.len() == 2, "\\x wants two digits");
                    let digits = std::str::from_utf8(&digits)?;
                    word.push(u8::from_str_radix(digits, 16)?);
                }
                other => word.push(other),
            },
            byte => word.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_is_sent_and_how_it_is_compared() {
        // Lost without it: a script that compares nothing would pass.
        let text = "# for people\n@cluster\nSET a \"\\x00 b\\r\"\n\n@fresh\n[shape] TIME\n[raw] \"PING\\r\\n\" \"\\r\\n\"\n[fields a,b] INFO";
        let script = Script::parse("t", text).unwrap();
        assert!(script.is_for_cluster);
        let line = &script.lines[0];
        assert_eq!(
            line.bytes,
            b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\0 b\r\r\n"
        );
        assert_eq!((line.number, &line.how), (3, &How::Exact));
        assert!(!line.is_on_a_new_connection);
        let line = &script.lines[1];
        assert_eq!(line.how, How::Shape);
        assert!(line.is_on_a_new_connection);
        assert_eq!(script.lines[2].bytes, b"PING\r\n\r\n");
        let fields = How::Fields(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(script.lines[3].how, fields);
        assert!(Script::parse("t", "[nosuch] PING").is_err());
        assert!(Script::parse("t", "SET a \"b").is_err());
    }
}
