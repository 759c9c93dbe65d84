"""redis-py, plain and RedisCluster."""

import os
import sys
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

PORTS = [int(port) for port in os.environ["PORTS"].split()]
BINARY = bytes(range(256))


def line(name, expected, act):
    try:
        got = act()
        if got == expected:
            print("ok", name, flush=True)
        else:
            print(f"fail {name}: expected {expected!r} got {got!r}", flush=True)
    except Exception as error:
        text = f"{type(error).__name__} {error}".replace("\n", " ")
        print(f"fail {name}: {text}", flush=True)


def kill():
    print("kill", flush=True)
    sys.stdin.readline()


def reads_while_killed(client, keys, dies):
    failed = 0
    for i in range(300):
        if dies and i == 100:
            kill()
        try:
            failed += client.get(keys[i % len(keys)]) is None
        except redis.RedisError as error:
            failed += 1
            print(f"note killed: {type(error).__name__} {error}".replace("\n", " "), flush=True)
    return failed


def common(client, prefix):
    a, b = f"{prefix}:a", f"{prefix}:b"
    line("connect", True, client.ping)
    line("set-get", b"1", lambda: client.set(a, "1") and client.get(a))
    line("del", 1, lambda: client.delete(a))
    line("expire", True, lambda: client.set(a, "1", ex=100) and client.expire(a, 50) and 0 < client.ttl(a) <= 50)
    line("binary", BINARY, lambda: client.set(b, BINARY) and client.get(b))


def pipeline(client, prefix):
    try:
        pipe = client.pipeline(transaction=False)
    except TypeError:
        pipe = client.pipeline()
    for i in range(100):
        pipe.set(f"{prefix}:{i}", i)
    return pipe.execute() == [True] * 100


plain = redis.Redis(port=PORTS[0])
common(plain, "py")
line("mget", [b"x", None], lambda: plain.set("py:m", "x") and plain.mget("py:m", "py:none"))
line("pipeline", True, lambda: pipeline(plain, "py"))
if int(redis.__version__.split(".")[0]) >= 5:
    for protocol in (2, 3):
        other = redis.Redis(port=PORTS[1], protocol=protocol)
        common(other, f"py{protocol}")
        line("tools", True, lambda: "redis_version" in other.info())
        line("tools", True, lambda: any(c["id"] for c in other.client_list()))

cluster = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in PORTS])
line("cluster", 3, lambda: len(cluster.get_nodes()))
common(cluster, "pyc")
line("cluster", True, lambda: pipeline(cluster, "pyc"))
line("mget", [b"1", b"2"], lambda: cluster.mset_nonatomic({"pyc:x": 1, "pyc:y": 2}) and cluster.mget_nonatomic("pyc:x", "pyc:y"))
keys = [f"pyc:{i}" for i in range(100)]


def cluster_killed():
    failed = reads_while_killed(cluster, keys, True)
    print(f"note cluster-killed: {failed} of 300 reads failed", flush=True)
    return failed <= 1


line("cluster-killed", True, cluster_killed)
line("killed", 0, lambda: reads_while_killed(plain, ["py:1", "py:2"], False))
