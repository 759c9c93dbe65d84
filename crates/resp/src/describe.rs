//! This file answers: what does COMMAND tell of the table?
//!
//! The shapes are Redis 7's: a row has ten fields, and RESP3 clients get sets and maps where Redis gives them.

use bytes::Bytes;

use crate::command::{Keys, Spec, all, by_text};
use crate::glob::matches_ignoring_case;
use crate::table::TABLE;
use crate::{CommandError, Name, Reply, Request};

/// COMMAND: every command with its ten fields.
pub fn table() -> Reply {
    Reply::Array(TABLE.iter().map(row).collect())
}

/// COMMAND COUNT: how many commands there are, subcommands not counted.
pub fn count() -> Reply {
    Reply::Integer(i64::try_from(TABLE.len()).unwrap_or(i64::MAX))
}

/// COMMAND INFO: the rows of these names, null where there is none; all rows if no name is given.
pub fn info(names: &[Bytes]) -> Reply {
    if names.is_empty() {
        return table();
    }
    Reply::Array(
        names
            .iter()
            .map(|name| by_text(name).map_or(Reply::Null, row))
            .collect(),
    )
}

/// COMMAND DOCS: name to documentation, for those of these names that exist; for all if no name is given.
pub fn docs(names: &[Bytes]) -> Reply {
    let entry = |spec: &Spec| (Reply::bulk(spec.text), documentation(spec));
    Reply::Map(match names {
        [] => TABLE.iter().map(entry).collect(),
        names => names
            .iter()
            .filter_map(|name| by_text(name))
            .map(entry)
            .collect(),
    })
}

/// Which names COMMAND LIST gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFilter {
    /// All commands', subcommands' not.
    None,
    /// A module's: there are none.
    Module,
    /// Those of a category of access control, subcommands too.
    Category(Bytes),
    /// Those that match, subcommands too.
    Pattern(Bytes),
}

impl ListFilter {
    pub(crate) fn parse(args: &[Bytes]) -> Result<ListFilter, CommandError> {
        let (kind, value) = match args {
            [] => return Ok(ListFilter::None),
            [option, kind, value] if option.eq_ignore_ascii_case(b"FILTERBY") => (kind, value),
            _ => return Err(CommandError::Syntax),
        };
        let is = |text: &str| kind.eq_ignore_ascii_case(text.as_bytes());
        if is("MODULE") {
            Ok(ListFilter::Module)
        } else if is("ACLCAT") {
            Ok(ListFilter::Category(value.clone()))
        } else if is("PATTERN") {
            Ok(ListFilter::Pattern(value.clone()))
        } else {
            Err(CommandError::Syntax)
        }
    }
}

/// COMMAND LIST
pub fn list(filter: &ListFilter) -> Reply {
    let is_of = |category: &&str, wanted: &[u8]| {
        wanted.eq_ignore_ascii_case(category.trim_start_matches('@').as_bytes())
    };
    let specs: Vec<&Spec> = match filter {
        ListFilter::None => TABLE.iter().collect(),
        ListFilter::Module => Vec::new(),
        ListFilter::Category(wanted) => all()
            .filter(|spec| {
                spec.categories
                    .iter()
                    .any(|category| is_of(category, wanted))
            })
            .collect(),
        ListFilter::Pattern(pattern) => all()
            .filter(|spec| matches_ignoring_case(pattern, spec.text.as_bytes()))
            .collect(),
    };
    Reply::bulks(specs.into_iter().map(|spec| spec.text))
}

/// COMMAND GETKEYS: the keys among a command and its arguments.
pub fn get_keys(command: &Request) -> Result<Reply, CommandError> {
    let spec =
        crate::command::find_whatever_its_arity(command).map_err(|_| CommandError::NotACommand)?;
    if spec.keys.is_none() {
        return Err(CommandError::NoKeys);
    }
    if !spec.takes(command.args.len()) {
        return Err(CommandError::GetKeysArity);
    }
    let keys: Vec<Bytes> = keys(spec, command).cloned().collect();
    if keys.is_empty() {
        Err(CommandError::NoKeys)
    } else {
        Ok(Reply::bulks(keys))
    }
}

/// COMMAND GETKEYSANDFLAGS: the same, each with what is done with it.
pub fn get_keys_and_flags(command: &Request) -> Result<Reply, CommandError> {
    let Reply::Array(keys) = get_keys(command)? else {
        return Err(CommandError::NoKeys);
    };
    let access = access(crate::command::find(command)?, command);
    let row = |key| Reply::Array(vec![key, simple_set(access)]);
    Ok(Reply::Array(keys.into_iter().map(row).collect()))
}

/// What a request does with its keys: of one command it depends on the options.
fn access(spec: &Spec, request: &Request) -> &'static [&'static str] {
    let gets = |arg: &Bytes| arg.eq_ignore_ascii_case(b"GET");
    match spec.keys {
        None => &[],
        Some(_) if spec.name == Name::Set => {
            if request.args.iter().skip(3).any(gets) {
                &["RW", "access", "update"]
            } else {
                &["OW", "update"]
            }
        }
        Some(keys) => keys.access,
    }
}

/// The categories that commands here are of, each once.
pub fn categories() -> Vec<&'static str> {
    let mut categories: Vec<&str> = Vec::new();
    for category in all().flat_map(|spec| spec.categories) {
        let category = category.trim_start_matches('@');
        if !categories.contains(&category) {
            categories.push(category);
        }
    }
    categories
}

/// The keys of a request of this command, as they stand in it.
pub fn keys<'a>(spec: &Spec, request: &'a Request) -> impl Iterator<Item = &'a Bytes> {
    let places = spec.keys.map_or(0..0, |keys| {
        let end = match usize::try_from(keys.last) {
            Ok(last) => last + 1,
            Err(_) => request.args.len(),
        };
        keys.first.unsigned_abs() as usize..end
    });
    let step = spec.keys.map_or(1, |keys| keys.step.unsigned_abs().max(1));
    places
        .step_by(step as usize)
        .filter_map(|place| request.args.get(place))
}

/// HELP of a command of several, in Redis' form.
pub fn help(container: Name) -> Reply {
    let spec = container.spec();
    let title = format!(
        "{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        spec.text.to_ascii_uppercase()
    );
    let mut lines = vec![title];
    if spec.takes(1) {
        lines.extend([
            "(no subcommand)".to_owned(),
            format!("    {}", spec.summary),
        ]);
    }
    for subcommand in spec.subcommands {
        let name = subcommand.own_text().to_ascii_uppercase();
        lines.push(format!("{name} {}", subcommand.usage).trim_end().to_owned());
        lines.push(format!("    {}", subcommand.summary));
    }
    Reply::Array(lines.into_iter().map(Reply::simple).collect())
}

fn row(spec: &Spec) -> Reply {
    let (first, last, step) = spec
        .keys
        .map_or((0, 0, 0), |keys| (keys.first, keys.last, keys.step));
    Reply::Array(vec![
        Reply::bulk(spec.text),
        Reply::Integer(spec.arity.into()),
        simple_set(spec.flags),
        Reply::Integer(first.into()),
        Reply::Integer(last.into()),
        Reply::Integer(step.into()),
        simple_set(spec.categories),
        Reply::Set(spec.tips.iter().map(|tip| Reply::bulk(*tip)).collect()),
        Reply::Set(spec.keys.iter().map(key_specification).collect()),
        match spec.subcommands {
            [] => Reply::Set(Vec::new()),
            subcommands => Reply::Array(subcommands.iter().map(row).collect()),
        },
    ])
}

fn simple_set(texts: &'static [&'static str]) -> Reply {
    Reply::Set(texts.iter().map(|text| Reply::simple(*text)).collect())
}

/// Where the keys begin and how far they go, counted from there.
fn key_specification(keys: &Keys) -> Reply {
    let begin = map([
        ("type", Reply::bulk("index")),
        ("spec", map([("index", Reply::Integer(keys.first.into()))])),
    ]);
    let last = match keys.last {
        -1 => -1,
        last => last - keys.first,
    };
    let range = map([
        ("lastkey", Reply::Integer(last.into())),
        ("keystep", Reply::Integer(keys.step.into())),
        ("limit", Reply::Integer(0)),
    ]);
    let find = map([("type", Reply::bulk("range")), ("spec", range)]);
    let notes = keys.notes.map(|notes| ("notes", Reply::bulk(notes)));
    let rest = [
        ("flags", simple_set(keys.access)),
        ("begin_search", begin),
        ("find_keys", find),
    ];
    map(notes.into_iter().chain(rest))
}

fn documentation(spec: &Spec) -> Reply {
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
    ];
    let texts = texts.map(|(name, text)| (name, Reply::bulk(text)));
    let subcommands = spec
        .subcommands
        .iter()
        .map(|spec| (Reply::bulk(spec.text), documentation(spec)));
    let subcommands =
        Some(Reply::Map(subcommands.collect())).filter(|_| !spec.subcommands.is_empty());
    map(texts
        .into_iter()
        .chain(subcommands.map(|map| ("subcommands", map))))
}

fn map(pairs: impl IntoIterator<Item = (&'static str, Reply)>) -> Reply {
    Reply::Map(
        pairs
            .into_iter()
            .map(|(name, value)| (Reply::bulk(name), value))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::Protocol;
    use crate::command::tests::request;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut out = BytesMut::new();
        reply.write(protocol, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn rows_are_byte_for_byte_those_of_redis() {
        // Lost without it: cluster clients that parse COMMAND would fail on connect. From redis-server 7.0.15.
        let row = info(&["SET".into(), "nosuch".into()]);
        assert_eq!(
            written(&row, Protocol::Resp2),
            "*2\r\n*10\r\n$3\r\nset\r\n:-3\r\n*2\r\n+write\r\n+denyoom\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@write\r\n+@string\r\n\
             +@slow\r\n*0\r\n*1\r\n*8\r\n$5\r\nnotes\r\n$48\r\nRW and ACCESS due to the optional `GET` argument\r\n$5\r\n\
             flags\r\n*4\r\n+RW\r\n+access\r\n+update\r\n+variable_flags\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\n\
             index\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\n\
             spec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n$-1\r\n"
        );
        assert_eq!(
            written(&info(&["ping".into()]), Protocol::Resp3),
            "*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n~2\r\n+@fast\r\n+@connection\r\n~2\r\n$25\r\n\
             request_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n~0\r\n~0\r\n"
        );
    }

    #[test]
    fn the_whole_table_is_told() {
        // Lost without it: a client would refuse a command that it did not find in COMMAND.
        let Reply::Array(rows) = table() else {
            panic!("an array")
        };
        assert_eq!(count(), Reply::Integer(rows.len() as i64));
        assert!(
            rows.iter()
                .all(|row| matches!(row, Reply::Array(fields) if fields.len() == 10))
        );
        assert_eq!(table(), info(&[]));
        let Reply::Map(docs) = docs(&[]) else {
            panic!("a map")
        };
        assert_eq!(docs.len(), rows.len());
    }

    #[test]
    fn lists_and_help() {
        // Lost without it: redis-cli's completion and `CLIENT HELP`, which an error text names.
        let list_of = |line: &str| list(&ListFilter::parse(&request(line).args).unwrap());
        assert_eq!(
            list_of("filterby pattern *|ID"),
            Reply::bulks(["client|id"])
        );
        assert_eq!(
            list_of("FILTERBY ACLCAT string"),
            Reply::bulks([
                "get", "set", "mget", "mset", "setex", "psetex", "getex", "getrange", "substr",
                "strlen", "rkv.put", "rkv.get"
            ])
        );
        assert_eq!(list_of("filterby module x"), Reply::EMPTY);
        assert_eq!(
            ListFilter::parse(&request("foo").args),
            Err(CommandError::Syntax)
        );
        let help = written(&help(Name::Client), Protocol::Resp2);
        assert!(help.contains("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        assert!(help.contains("+SETNAME connection-name\r\n+    Names the connection.\r\n"));
    }

    #[test]
    fn keys_of_a_request() {
        // Lost without it: clients that ask where the keys are would send a command to the wrong node.
        let of = |line: &str| get_keys(&request(line));
        assert_eq!(of("get a"), Ok(Reply::bulks(["a"])));
        assert_eq!(of("set a b EX 1"), Ok(Reply::bulks(["a"])));
        assert_eq!(of("del a b"), Ok(Reply::bulks(["a", "b"])));
        assert_eq!(of("mset a 1 b 2"), Ok(Reply::bulks(["a", "b"])));
        assert_eq!(of("ping"), Err(CommandError::NoKeys));
        assert_eq!(of("echo a b"), Err(CommandError::NoKeys));
        assert_eq!(of("object encoding k"), Ok(Reply::bulks(["k"])));
        assert_eq!(of("get"), Err(CommandError::GetKeysArity));
        assert_eq!(of("foo a"), Err(CommandError::NotACommand));
    }
}
