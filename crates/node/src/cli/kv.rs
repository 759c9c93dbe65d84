//! This file answers: how is one key read, written or deleted?

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::api::{ANSWER_WITHIN, SLACK};
use super::documents::{GetAnswer, KvRequest, PutAnswer};
use super::failure::{Failure, Kind};
use super::{End, Global, table};
use crate::duration::parse_millis;

/// What get, put and delete share.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Keyspace, instead of `default`
    #[arg(long, value_name = "K")]
    keyspace: Option<String>,
    /// Copies asked
    #[arg(long, value_name = "N")]
    n: Option<u32>,
    /// Time for it all, such as 250ms or 5s; a bare number is milliseconds [default: request.timeout_ms of the node]
    #[arg(long, value_name = "T", value_parser = parse_millis)]
    timeout: Option<Duration>,
}

/// What a get may ask for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Reads {
    #[command(flatten)]
    common: Common,
    /// Answers to wait for
    #[arg(long, value_name = "R")]
    r: Option<u32>,
    /// Of these, how many must be owners'
    #[arg(long, value_name = "R")]
    pr: Option<u32>,
    /// What an earlier answer gave as its context
    #[arg(long, value_name = "C", hide = true)]
    context: Option<String>,
    /// The value's bytes and nothing else, no line end added
    #[arg(long)]
    raw: bool,
}

/// What a put or delete may ask for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Writes {
    #[command(flatten)]
    common: Common,
    /// Copies to wait for
    #[arg(long, value_name = "W")]
    w: Option<u32>,
    /// Of these, how many must be owners'
    #[arg(long, value_name = "W")]
    pw: Option<u32>,
    /// What an earlier answer gave as its context
    #[arg(long, value_name = "C")]
    context: Option<String>,
}

impl Common {
    fn request(&self, key: OsString) -> KvRequest {
        let (key, key_base64) = match key.into_string() {
            Ok(key) => (Some(key), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes.into_vec()))),
        };
        KvRequest {
            key,
            key_base64,
            keyspace: self.keyspace.clone(),
            n: self.n,
            timeout_ms: self.timeout.map(|timeout| timeout.as_millis() as u64),
            ..KvRequest::default()
        }
    }

    fn answer_within(&self) -> Duration {
        self.timeout
            .map_or(ANSWER_WITHIN, |timeout| timeout + SLACK)
    }
}

impl Writes {
    fn request(&self, key: OsString) -> KvRequest {
        KvRequest {
            w: self.w,
            pw: self.pw,
            context: self.context.clone(),
            ..self.common.request(key)
        }
    }

    /// Who asks for a quorum wants to see it.
    fn asks_for_a_quorum(&self) -> bool {
        self.common.n.or(self.w).or(self.pw).is_some()
    }
}

/// `rkv get KEY`: the value to stdout; an absent key leaves it empty.
pub(crate) fn get(global: &Global, key: OsString, asked: &Reads) -> Result<End, Failure> {
    let output = global.output();
    let request = KvRequest {
        r: asked.r,
        pr: asked.pr,
        context: asked.context.clone(),
        ..asked.common.request(key)
    };
    let answer = global
        .node()?
        .query("/v1/kv/get", &request, asked.common.answer_within())?;
    let got: GetAnswer = answer.read()?;
    if output.is_json() {
        output.result(&answer.0, String::new)?;
        return Ok(End::Done);
    }
    let asks_for_a_quorum = asked.common.n.or(asked.r).or(asked.pr).is_some();
    let list = table::replicas(&got.replicas);
    if !got.found {
        output.note("not found");
        if asks_for_a_quorum || output.is_verbose() {
            output.note(list.trim_end());
        }
        return Ok(End::Done);
    }
    output.bytes(&shown(value(&got)?, asked.raw))?;
    if asks_for_a_quorum && !asked.raw {
        output.bytes(list.as_bytes())?;
    } else if output.is_verbose() {
        output.note(list.trim_end());
    }
    Ok(End::Done)
}

fn value(got: &GetAnswer) -> Result<Vec<u8>, Failure> {
    match (&got.value_base64, &got.value) {
        (Some(encoded), _) => STANDARD
            .decode(encoded)
            .map_err(|why| Failure::internal(format!("the node's answer holds no base64: {why}"))),
        (None, Some(text)) => Ok(text.clone().into_bytes()),
        (None, None) => Err(Failure::internal("the node's answer holds no value")),
    }
}

/// A text gets a line end when it has none, so that values stay apart; binary values are left as they are.
fn shown(mut value: Vec<u8>, raw: bool) -> Vec<u8> {
    if !raw && !value.ends_with(b"\n") && std::str::from_utf8(&value).is_ok() {
        value.push(b'\n');
    }
    value
}

/// `rkv put KEY VALUE`; the value `-` is read from stdin.
pub(crate) fn put(
    global: &Global,
    key: OsString,
    value: OsString,
    asked: &Writes,
) -> Result<End, Failure> {
    let value = if value == "-" {
        stdin()?
    } else {
        value.into_vec()
    };
    let request = KvRequest {
        value_base64: Some(STANDARD.encode(value)),
        ..asked.request(key)
    };
    write(global, "/v1/kv/put", &request, asked)
}

/// `rkv delete KEY`.
pub(crate) fn delete(global: &Global, key: OsString, asked: &Writes) -> Result<End, Failure> {
    write(global, "/v1/kv/delete", &asked.request(key), asked)
}

fn write(global: &Global, path: &str, request: &KvRequest, asked: &Writes) -> Result<End, Failure> {
    let output = global.output();
    let answer = global
        .node()?
        .post(path, request, asked.common.answer_within())?;
    let put: PutAnswer = answer.read()?;
    output.result(&answer.0, || {
        let list = if asked.asks_for_a_quorum() || output.is_verbose() {
            table::replicas(&put.replicas)
        } else {
            String::new()
        };
        format!("ok\n{list}")
    })?;
    Ok(End::Done)
}

fn stdin() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    match std::io::stdin().lock().read_to_end(&mut value) {
        Ok(_) => Ok(value),
        Err(why) => Err(Failure::new(
            Kind::Internal,
            "stdin",
            format!("cannot read the value from stdin: {why}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lost without it: keys and values that are no text would be changed on their way.
    #[test]
    fn bytes_stay_as_they_are() {
        let request = Common::default().request(OsString::from_vec(vec![0xff, 0]));
        assert_eq!(
            (request.key, request.key_base64),
            (None, Some("/wA=".into()))
        );
        let request = Common::default().request("k".into());
        assert_eq!((request.key, request.key_base64), (Some("k".into()), None));
        for (value, raw, out) in [
            (&b"v"[..], false, &b"v\n"[..]),
            (b"v\n", false, b"v\n"),
            (b"v", true, b"v"),
            (b"\xff", false, b"\xff"),
            (b"", false, b"\n"),
        ] {
            assert_eq!(shown(value.to_vec(), raw), out);
        }
    }
}
