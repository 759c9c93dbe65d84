// node-redis, plain and cluster. At a death it waits for its reconnect first, and some reads fail: that is its way.
const { createClient, createCluster, RESP_TYPES, commandOptions } = require('redis');
const { ports, binary, line, readsWhileKilled } = require('./lines');

const url = (port) => `redis://127.0.0.1:${port}`;
// Reads that fail while it waits for a dead node to come back: 6 asks for the ring again after a while, 4 only at a MOVED,
// which is never sent here, so with 4 the dead node's share fails until it is back.
const PATIENCE = commandOptions ? 100 : 30;

function within(ms, reply) {
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error(`no reply within ${ms} ms`)), ms));
  return Promise.race([reply, late]);
}

function bytesOf(client, key) {
  if (commandOptions) return client.get(commandOptions({ returnBuffers: true }), key);
  return client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }).get(key);
}

async function common(client, prefix) {
  await line('set-get', '1', async () => (await client.set(`${prefix}:a`, '1')) && client.get(`${prefix}:a`));
  await line('del', 1, () => client.del(`${prefix}:a`));
  await line('mget', ['1', null], async () => {
    await client.set(`{${prefix}}:m`, '1');
    return client.mGet([`{${prefix}}:m`, `{${prefix}}:none`]);
  });
  await line('expire', 1, async () => Number(await client.expire(`{${prefix}}:m`, 100)));
  await line('binary', true, async () => {
    await client.set(`${prefix}:bin`, binary);
    return binary.equals(await bytesOf(client, `${prefix}:bin`));
  });
}

(async () => {
  const plain = createClient({ url: url(ports[0]) });
  plain.on('error', () => {});
  await plain.connect();
  await line('connect', 'PONG', () => plain.ping());
  await common(plain, 'nr');
  await line('pipeline', 100, async () => {
    // what is asked in one turn leaves as one pipeline
    const replies = await Promise.all([...Array(100).keys()].map((i) => plain.set(`nr:${i}`, String(i))));
    return replies.filter((reply) => reply === 'OK').length;
  });

  const cluster = createCluster({
    rootNodes: ports.map((port) => ({ url: url(port) })),
    defaults: { socket: { connectTimeout: 500 } },
  });
  cluster.on('error', () => {});
  cluster.on('node-error', () => {});
  await line('cluster', 3, async () => {
    await cluster.connect();
    return new Set(cluster.masters.map((master) => master.address)).size;
  });
  await common(cluster, 'nrc');
  for (let i = 0; i < 100; i++) await cluster.set(`nrc:${i}`, String(i)).catch(() => {});
  await line('cluster-killed', true, async () =>
    (await readsWhileKilled((i) => within(500, cluster.get(`nrc:${i}`)), true)) <= PATIENCE);
  await line('killed', 0, () => readsWhileKilled((i) => plain.get(`nr:${i}`), false));
  process.exit(0);
})();
