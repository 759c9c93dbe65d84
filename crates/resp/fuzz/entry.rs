//! This file answers: what is done with bytes that a fuzzer made up?
//!
//! One function a target, shared by the targets (`fuzz_targets`) and by the test that replays their corpora
//! (`tests/corpus.rs`). Each says what must hold whatever the bytes are; a panic is a finding.

use bytes::{Bytes, BytesMut};
use rkv_resp::frame::{Limits, Request, RequestParser, write_request};
use rkv_resp::glob::matches_ignoring_case;
use rkv_resp::{Command, Protocol, ProtocolError, Reply, ReplyLimits, ReplyParser};
use rkv_resp::{answer::ReplyError, command, describe};

/// A connection's bytes: the first picks its limits, the second how they are cut into reads.
pub(crate) fn requests(data: &[u8]) {
    let [limits, piece, stream @ ..] = data else {
        return;
    };
    let limits = match limits % 3 {
        0 => Limits::default(),
        1 => Limits::UNAUTHENTICATED,
        _ => Limits {
            max_args: 3,
            max_bulk: 16,
            max_inline: 24,
            max_request_bytes: 48,
        },
    };
    let (requests, end) = parse_requests(stream, stream.len(), limits);
    let cut = parse_requests(stream, usize::from(*piece), limits);
    assert_eq!((&requests, &end), (&cut.0, &cut.1), "the cuts matter");
    let held: usize = requests
        .iter()
        .flat_map(|request| &request.args)
        .map(Bytes::len)
        .sum();
    assert!(held <= stream.len(), "more came out than went in");
    if let Some(error) = end {
        written(&error.reply());
    }
    for request in requests {
        assert!(
            request.args.len() <= limits.max_args,
            "more arguments than allowed"
        );
        carried_out(request);
    }
}

fn parse_requests(
    stream: &[u8],
    piece: usize,
    limits: Limits,
) -> (Vec<Request>, Option<ProtocolError>) {
    let mut parser = RequestParser::new(limits);
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
        let bound = limits.max_request_bytes.max(limits.max_inline) + piece.len() + 2;
        assert!(
            buffer.len() <= bound,
            "an incomplete request is kept beyond its limit"
        );
        assert!(
            parser.missing(&buffer) <= limits.max_bulk + 2,
            "more is asked for than allowed"
        );
    }
    (requests, None)
}

/// A command with its arguments: the first byte picks the command, line feeds part the arguments.
pub(crate) fn commands(data: &[u8]) {
    let [which, rest @ ..] = data else {
        return;
    };
    let spec = command::all()
        .nth(usize::from(*which) % command::all().count())
        .expect("counted");
    let name = spec
        .text
        .split('|')
        .map(|word| Bytes::copy_from_slice(word.as_bytes()));
    let args = rest
        .split(|byte| *byte == b'\n')
        .map(Bytes::copy_from_slice);
    let args = match rest {
        [] => name.collect(),
        _ => name.chain(args).collect(),
    };
    carried_out(Request { args });
    if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        matches_ignoring_case(&rest[..end], &rest[end + 1..]);
    }
}

/// What a connection does with a request before the store sees it.
fn carried_out(request: Request) {
    let mut bytes = BytesMut::new();
    write_request(&request.args, &mut bytes);
    let again = RequestParser::new(Limits::default()).next(&mut bytes);
    assert_eq!(
        again.as_ref(),
        Ok(&Some(request.clone())),
        "a written request changed"
    );
    match describe::get_keys(&request) {
        Ok(reply) => written(&reply),
        Err(error) => written(&Reply::from(error)),
    }
    let spec = match command::find(&request) {
        Ok(spec) => spec,
        Err(error) => return written(&Reply::from(error)),
    };
    assert!(
        describe::keys(spec, &request).count() < request.args.len(),
        "a name counts as a key"
    );
    match Command::parse(spec.name, request) {
        Ok(Command::CommandInfo(names)) => written(&describe::info(&names)),
        Ok(Command::CommandDocs(names)) => written(&describe::docs(&names)),
        Ok(Command::CommandList(filter)) => written(&describe::list(&filter)),
        Ok(Command::Set { options, .. }) => {
            let _ = options.check_eventual("default");
        }
        Ok(_) => {}
        Err(error) => written(&Reply::from(error)),
    }
}

/// A reply reaches a client as exactly one.
fn written(reply: &Reply) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut bytes = BytesMut::new();
        reply.write(protocol, &mut bytes);
        let mut parser = ReplyParser::new(ReplyLimits::default());
        assert!(
            matches!(parser.next(&mut bytes), Ok(Some(_))),
            "not a reply: {reply:?}"
        );
        assert!(bytes.is_empty(), "more than one reply: {reply:?}");
    }
}

/// A server's bytes: the first picks the limits, the second how they are cut into reads.
pub(crate) fn replies(data: &[u8]) {
    let [limits, piece, stream @ ..] = data else {
        return;
    };
    let limits = match limits % 2 {
        0 => ReplyLimits::default(),
        _ => ReplyLimits {
            max_line: 20,
            max_bulk: 20,
            max_elements: 6,
            max_depth: 3,
        },
    };
    let (replies, end) = parse_replies(stream, stream.len(), limits);
    let cut = parse_replies(stream, usize::from(*piece), limits);
    // by their text: a double may be none that equals itself
    assert_eq!(
        format!("{replies:?} {end:?}"),
        format!("{:?} {:?}", cut.0, cut.1),
        "the cuts matter"
    );
    for reply in &replies {
        written(reply);
    }
}

fn parse_replies(
    stream: &[u8],
    piece: usize,
    limits: ReplyLimits,
) -> (Vec<Reply>, Option<ReplyError>) {
    let mut parser = ReplyParser::new(limits);
    let mut buffer = BytesMut::new();
    let mut replies = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}
