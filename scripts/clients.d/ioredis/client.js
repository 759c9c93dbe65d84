// ioredis, plain and Cluster.
const Redis = require('ioredis');
const { ports, binary, line, readsWhileKilled } = require('./lines');

async function common(client, prefix) {
  await line('connect', 'PONG', () => client.ping());
  await line('set-get', '1', async () => (await client.set(`${prefix}:a`, '1')) && client.get(`${prefix}:a`));
  await line('del', 1, () => client.del(`${prefix}:a`));
  await line('mget', ['1', null], async () => {
    await client.set(`{${prefix}}:m`, '1');
    return client.mget(`{${prefix}}:m`, `{${prefix}}:none`);
  });
  await line('expire', 1, () => client.expire(`{${prefix}}:m`, 100));
  await line('binary', true, async () => {
    await client.set(`${prefix}:bin`, binary);
    return binary.equals(await client.getBuffer(`${prefix}:bin`));
  });
}

(async () => {
  const plain = new Redis(ports[0]);
  await common(plain, 'io');
  await line('pipeline', 100, async () => {
    const pipe = plain.pipeline();
    for (let i = 0; i < 100; i++) pipe.set(`io:${i}`, i);
    return (await pipe.exec()).filter(([error, reply]) => !error && reply === 'OK').length;
  });

  const cluster = new Redis.Cluster(ports.map((port) => ({ host: '127.0.0.1', port })));
  cluster.on('error', () => {});
  await common(cluster, 'ioc');
  await line('cluster', 3, () => cluster.nodes('all').length);
  for (let i = 0; i < 100; i++) await cluster.set(`ioc:${i}`, i).catch(() => {});
  await line('cluster-killed', true, async () =>
    (await readsWhileKilled((i) => cluster.get(`ioc:${i}`), true)) <= 1);
  await line('killed', 0, () => readsWhileKilled((i) => plain.get(`io:${i}`), false));
  process.exit(0);
})();
