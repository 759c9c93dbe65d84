//! This file answers: which requests of a pipeline are known before their turn?
//!
//! The next few. What is asked of a key begins with waiting for memory, longer than all the rest takes; of those that are known
//! ahead the store fetches what it holds, so that they wait together.

use std::collections::VecDeque;

use bytes::BytesMut;
use rkv_kv::{Engine, Located};
use rkv_resp::{ProtocolError, Request, RequestParser};

/// At most so many requests are ahead.
const REQUESTS: usize = 16;
/// No more are once they measure so much.
const BYTES: usize = 16 << 10;

/// Requests that were parsed and not begun.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    requests: VecDeque<Known>,
    /// What they measured when they were parsed.
    bytes: usize,
}

/// A request, and where its key lies if somebody has looked.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) request: Request,
    pub(super) located: Option<Located>,
}

impl Ahead {
    /// What is held of the connection's input.
    pub(super) fn bytes(&self) -> usize {
        match self.requests.is_empty() {
            true => 0,
            false => self.bytes,
        }
    }

    /// The next request: of those that are ahead, else of `input`, where a look is taken ahead if that is allowed.
    pub(super) fn next(
        &mut self,
        parser: &mut RequestParser,
        input: &mut BytesMut,
        engine: Option<&Engine>,
    ) -> Result<Option<Known>, ProtocolError> {
        if let Some(known) = self.requests.pop_front() {
            return Ok(Some(known));
        }
        let Some(request) = parser.next(input)? else {
            // A connection that waits keeps no memory for it.
            self.requests = VecDeque::new();
            return Ok(None);
        };
        let located = None;
        let first = Known { request, located };
        match engine {
            Some(engine) if !input.is_empty() => {
                self.requests.push_back(first);
                self.look(parser, input, engine);
                Ok(self.requests.pop_front())
            }
            _ => Ok(Some(first)),
        }
    }

    fn look(&mut self, parser: &mut RequestParser, input: &mut BytesMut, engine: &Engine) {
        let began = input.len();
        while self.requests.len() < REQUESTS && began - input.len() < BYTES {
            // An error comes again, in its turn.
            let Ok(Some(request)) = parser.next(input) else {
                break;
            };
            let located = None;
            self.requests.push_back(Known { request, located });
        }
        self.bytes = began - input.len();
        if self.requests.len() == 1 {
            return;
        }
        let keyspace = engine.default_keyspace();
        for known in &mut self.requests {
            known.located = key_of(&known.request).map(|key| engine.locate(keyspace, key));
        }
        engine.expect(self.requests.iter().filter_map(|it| it.located.as_ref()));
    }
}

/// The key of a plain GET or SET.
fn key_of(request: &Request) -> Option<&[u8]> {
    match &request.args[..] {
        [name, key] if name.eq_ignore_ascii_case(b"get") => Some(key),
        [name, key, _] if name.eq_ignore_ascii_case(b"set") => Some(key),
        _ => None,
    }
}
