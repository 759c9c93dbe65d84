//! This file answers: what is a client told that asks for a command which Redis has and an eventual store has not?
//!
//! One row a family, with what to do instead. None of these stands in COMMAND's listing, so that cluster clients do not
//! take them for commands of this server; what neither Redis nor we know is an unknown command.

/// Commands that are refused for one reason.
#[derive(Debug)]
pub struct Family {
    /// In lower case.
    pub names: &'static [&'static str],
    /// Why, and the remedy: follows the command's name.
    pub text: &'static str,
}

/// All that is refused.
pub const FAMILIES: &[Family] = &[
    Family {
        names: &["setnx", "msetnx"],
        text: "needs a consistent answer and the keyspace is eventual: use plain SET or MSET, or a keyspace with \
               allow_read_modify_write",
    },
    Family {
        names: &["getset", "getdel"],
        text: "needs a consistent answer and the keyspace is eventual: use GET and then SET or DEL, or a keyspace with \
               allow_read_modify_write",
    },
    Family {
        names: &["incr", "incrby", "incrbyfloat", "decr", "decrby"],
        text: "would lose counts on an eventual keyspace: let each writer SET a key of its own and add them up, or use a \
               keyspace with allow_read_modify_write",
    },
    Family {
        names: &["append", "setrange", "setbit", "bitfield", "bitop"],
        text: "rewrites a value that it reads and the keyspace is eventual: SET the whole value, or use a keyspace with \
               allow_read_modify_write",
    },
    Family {
        names: &["getbit", "bitcount", "bitpos", "bitfield_ro", "lcs"],
        text: "is not built: GET the value, or a part of it with GETRANGE, and count in the client",
    },
    Family {
        names: &["rename", "renamenx", "copy", "move", "swapdb"],
        text: "moves between keys that lie on different nodes: GET the value, SET it under the other key and DEL the first",
    },
    Family {
        names: &["dump", "restore", "restore-asking", "migrate"],
        text: "speaks Redis' own format: read values with GET and write them with SET; nodes move data by themselves",
    },
    Family {
        names: &["multi", "exec", "discard", "watch", "unwatch"],
        text: "is not served, each key is written by itself: send the commands in a pipeline without MULTI",
    },
    Family {
        names: &[
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
        ],
        text: "is not served, nothing is run on the nodes: send the commands in a pipeline",
    },
    Family {
        names: &[
            "lpush",
            "rpush",
            "lpushx",
            "rpushx",
            "lpop",
            "rpop",
            "llen",
            "lindex",
            "linsert",
            "lrange",
            "lrem",
            "lset",
            "ltrim",
            "lpos",
            "lmove",
            "lmpop",
            "rpoplpush",
            "blpop",
            "brpop",
            "blmove",
            "blmpop",
            "brpoplpush",
            "sort",
            "sort_ro",
        ],
        text: "wants a list, and values here are strings: keep the list as one value, or each element under a key of its own",
    },
    Family {
        names: &[
            "hset",
            "hsetnx",
            "hmset",
            "hget",
            "hmget",
            "hgetall",
            "hdel",
            "hexists",
            "hincrby",
            "hincrbyfloat",
            "hkeys",
            "hvals",
            "hlen",
            "hstrlen",
            "hrandfield",
            "hscan",
        ],
        text: "wants a hash, and values here are strings: keep the hash as one value, or each field under a key of its own",
    },
    Family {
        names: &[
            "sadd",
            "srem",
            "smembers",
            "sismember",
            "smismember",
            "scard",
            "spop",
            "srandmember",
            "smove",
            "sdiff",
            "sdiffstore",
            "sinter",
            "sinterstore",
            "sintercard",
            "sunion",
            "sunionstore",
            "sscan",
            "pfadd",
            "pfcount",
            "pfmerge",
            "pfdebug",
            "pfselftest",
        ],
        text: "wants a set, and values here are strings: keep the set as one value, or each member under a key of its own",
    },
    Family {
        names: &[
            "zadd",
            "zrem",
            "zcard",
            "zcount",
            "zscore",
            "zmscore",
            "zincrby",
            "zrank",
            "zrevrank",
            "zrange",
            "zrangestore",
            "zrangebyscore",
            "zrevrange",
            "zrevrangebyscore",
            "zrangebylex",
            "zrevrangebylex",
            "zlexcount",
            "zremrangebyrank",
            "zremrangebyscore",
            "zremrangebylex",
            "zpopmin",
            "zpopmax",
            "bzpopmin",
            "bzpopmax",
            "zmpop",
            "bzmpop",
            "zdiff",
            "zdiffstore",
            "zinter",
            "zinterstore",
            "zintercard",
            "zunion",
            "zunionstore",
            "zrandmember",
            "zscan",
            "geoadd",
            "geodist",
            "geohash",
            "geopos",
            "geosearch",
            "geosearchstore",
            "georadius",
            "georadius_ro",
            "georadiusbymember",
            "georadiusbymember_ro",
        ],
        text: "wants a sorted set, and values here are strings: keep it as one value and sort in the client",
    },
    Family {
        names: &[
            "xadd",
            "xlen",
            "xrange",
            "xrevrange",
            "xread",
            "xreadgroup",
            "xdel",
            "xtrim",
            "xack",
            "xclaim",
            "xautoclaim",
            "xpending",
            "xgroup",
            "xinfo",
            "xsetid",
        ],
        text: "wants a stream, and values here are strings: write each entry under a key of its own",
    },
    Family {
        names: &[
            "subscribe",
            "unsubscribe",
            "psubscribe",
            "punsubscribe",
            "ssubscribe",
            "sunsubscribe",
            "publish",
            "spublish",
            "pubsub",
            "monitor",
        ],
        text: "is not served, messages are not kept: write a key, and read it where it is wanted",
    },
    Family {
        names: &["scan", "keys"],
        text: "is not built, keys are not listed: keep the names of your keys in a value",
    },
    Family {
        names: &["save", "bgsave", "bgrewriteaof"],
        text: "has nothing to do: every write is as durable as storage.durability says before it is acknowledged",
    },
    Family {
        names: &[
            "replicaof",
            "slaveof",
            "sync",
            "psync",
            "replconf",
            "failover",
        ],
        text: "is not served, every node takes writes: change members with 'rkv cluster'",
    },
    Family {
        names: &["shutdown"],
        text: "is the operator's: stop a node with SIGTERM, look at it with 'rkv status'",
    },
];

/// Why the command of this name, in any letter case, is refused; none where it is not.
pub fn text_for(name: &[u8]) -> Option<&'static str> {
    let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    let family = FAMILIES.iter().find(|family| family.names.iter().any(is));
    family.map(|family| family.text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::{by_text, find, tests::request};

    #[test]
    fn each_is_refused_once_with_its_remedy() {
        // Lost without it: a command that is built is refused all the same, or one is refused in two ways.
        let mut seen = BTreeSet::new();
        for family in FAMILIES {
            assert!(
                family.text.contains(": ") && !family.text.contains("  "),
                "{}",
                family.text
            );
            for name in family.names {
                assert!(seen.insert(name), "{name} stands twice");
                assert_eq!(*name, name.to_ascii_lowercase());
                assert_eq!(by_text(name.as_bytes()), None, "{name} is built");
            }
        }
    }

    #[test]
    fn a_client_is_told_what_to_do() {
        // Lost without it: a lock by SETNX, or a transaction, fails as a typing error would, and nobody learns why.
        let told = |line: &str| find(&request(line)).unwrap_err().to_string();
        let expected = "ERR SETNX needs a consistent answer and the keyspace is eventual: use plain SET or MSET, or a \
                        keyspace with allow_read_modify_write";
        assert_eq!(told("SetNX a b"), expected);
        assert!(told("multi").starts_with("ERR MULTI is not served"));
        assert!(
            told("incr").starts_with("ERR INCR would lose counts"),
            "whatever its arguments"
        );
        assert!(told("nosuch").starts_with("ERR unknown command 'nosuch'"));
    }
}
