// What the scripts of Node's clients print, and how they ask for a death.
const readline = require('readline');
const input = readline.createInterface({ input: process.stdin });
const said = input[Symbol.asyncIterator]();

exports.ports = process.env.PORTS.split(' ').map(Number);
exports.binary = Buffer.from([...Array(256).keys()]);

exports.line = async (name, expected, act) => {
  try {
    const got = await act();
    const same = JSON.stringify(got) === JSON.stringify(expected);
    if (same) console.log(`ok ${name}`);
    else console.log(`fail ${name}: expected ${JSON.stringify(expected)} got ${JSON.stringify(got)}`);
  } catch (error) {
    console.log(`fail ${name}: ${String(error).replace(/\n/g, ' ')}`);
  }
};

exports.kill = async () => {
  console.log('kill');
  await said.next();
};

// How many of 300 reads fail; a node dies at the hundredth.
exports.readsWhileKilled = async (get, dies) => {
  let failed = 0;
  const why = {};
  for (let i = 0; i < 300; i++) {
    if (dies && i === 100) await exports.kill();
    try {
      if ((await get(i % 100)) === null) failed++;
    } catch (error) {
      failed++;
      why[String(error).slice(0, 100)] = (why[String(error).slice(0, 100)] || 0) + 1;
    }
  }
  console.log(`note killed: ${failed} of 300 reads failed ${JSON.stringify(why)}`);
  return failed;
};
