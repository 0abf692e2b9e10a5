// Holds objects against the Kubernetes API's schemas as kubernetes-models has them, compiled. Reads JSON lines, one object
// each, from standard input; writes for each a JSON line with the list of what is wrong.
//
// The compiled schemas let unknown fields pass, which an API server drops or refuses. But a validator reads every field
// that it knows: what it never read of an object that watches its readers is unknown.
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";

const models = process.argv[2] + "/node_modules/kubernetes-models";

function watched(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  const inner = new Map();
  for (const key of Object.keys(value)) {
    const at = `${path}/${key}`;
    unread.add(at);
    inner.set(key, watched(value[key], at, unread));
  }
  return new Proxy(value, {
    get(target, key) {
      unread.delete(`${path}/${String(key)}`);
      return inner.has(key) ? inner.get(key) : target[key];
    },
  });
}

async function faults(object) {
  const { apiVersion, kind } = object;
  const file = `${models}/${apiVersion}/${kind}.js`;
  if (!/^[a-z0-9./]+$/.test(apiVersion) || !/^[A-Za-z]+$/.test(kind) || !existsSync(file)) return [`no schema of ${apiVersion} ${kind}`];
  const unread = new Set();
  const { validate } = await import(`${models}/_schemas/${await schemaName(file)}`);
  const fits = validate(watched(object, "", unread));
  const out = fits ? [] : validate.errors.map((error) => `${error.instancePath} ${error.keyword} ${JSON.stringify(error.params)}`);
  // Below an unknown field everything is unknown: one line for each such place.
  const tops = [...unread].filter((path) => ![...unread].some((other) => path.startsWith(`${other}/`)));
  return out.concat(tops.map((path) => `${path} is unknown`));
}

async function schemaName(file) {
  const { readFile } = await import("node:fs/promises");
  const found = /_schemas\/([A-Za-z0-9]+\.js)/.exec(await readFile(file, "utf8"));
  return found[1];
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await faults(JSON.parse(line))));
}
