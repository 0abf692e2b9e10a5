// The real llama.cpp engine behind a small OpenAI-style port, for the demo and the end-to-end tests.
//
//   node server.mjs --model FILE.gguf|DIR (--port N | --unix PATH) [--alias NAME] [--context N] [--api-key-file FILE]
//
// It listens on 127.0.0.1 only (or on a unix socket), answers /health with 503 while the model loads, and runs one
// generation at a time: the engine is given one thread, because its threads spin against each other on a busy machine.
// A malformed model file aborts the whole process inside the engine: whoever starts it must expect that.
import {readFileSync, readdirSync, statSync} from 'node:fs';
import http from 'node:http';
import {join} from 'node:path';
import {timingSafeEqual} from 'node:crypto';
import {parseArgs} from 'node:util';
import {getLlama, LlamaCompletion} from 'node-llama-cpp';

const kMaxBodyBytes = 1 << 20;
const kStopSeconds = 5;

const {values: flags} = parseArgs({
  options: {
    model: {type: 'string'},
    port: {type: 'string'},
    unix: {type: 'string'},
    alias: {type: 'string', default: 'tiny'},
    context: {type: 'string', default: '512'},
    'api-key-file': {type: 'string'},
  },
});
if (!flags.model || (!flags.port && !flags.unix)) {
  console.error('engine: error: --model and one of --port and --unix are required');
  process.exit(2);
}
const apiKey = flags['api-key-file'] ? readFileSync(flags['api-key-file'], 'utf8').trim() : '';

// A delivered model is a file or a directory that holds one .gguf.
function modelFile(path) {
  if (!statSync(path).isDirectory()) return path;
  const found = readdirSync(path).filter((name) => name.endsWith('.gguf'));
  if (found.length !== 1) throw new Error(`${path} holds ${found.length} .gguf files, want one`);
  return join(path, found[0]);
}

class BadRequest extends Error {}

let engine = null;  // {model, sequence, contextTokens} once loaded
let queue = Promise.resolve();
const now = () => Math.floor(Date.now() / 1000);

async function loadEngine() {
  const llama = await getLlama({gpu: false, build: 'never', skipDownload: true, logLevel: 'error'});
  const model = await llama.loadModel({modelPath: modelFile(flags.model)});
  const contextTokens = Number(flags.context);
  const context = await model.createContext({contextSize: contextTokens, threads: 1});
  engine = {model, sequence: context.getSequence(), contextTokens};
}

function sendJson(res, status, body) {
  const text = JSON.stringify(body);
  res.writeHead(status, {'content-type': 'application/json', 'content-length': Buffer.byteLength(text)});
  res.end(text);
}

function sendError(res, status, message, type) {
  sendJson(res, status, {error: {message, type, code: status}});
}

function authorized(req) {
  if (!apiKey) return true;
  const want = Buffer.from(`Bearer ${apiKey}`);
  const got = Buffer.from(req.headers.authorization ?? '');
  return got.length === want.length && timingSafeEqual(got, want);
}

function readBody(req) {
  return new Promise((resolve, reject) => {
    const parts = [];
    let bytes = 0;
    req.on('data', (part) => {
      bytes += part.length;
      if (bytes > kMaxBodyBytes) reject(new BadRequest('request body is over 1 MiB'));
      else parts.push(part);
    });
    req.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
    req.on('error', reject);
  });
}

function parseRequest(text, chat) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new BadRequest('request body is not JSON');
  }
  let prompt = body?.prompt;
  if (chat) {
    const ok = Array.isArray(body?.messages) && body.messages.length > 0 &&
      body.messages.every((m) => typeof m?.role === 'string' && typeof m?.content === 'string');
    if (!ok) throw new BadRequest('messages must be a list of {role, content}');
    prompt = body.messages.map((m) => `${m.role}: ${m.content}\n`).join('') + 'assistant: ';
  }
  if (typeof prompt !== 'string' || prompt === '') throw new BadRequest('prompt must be a text');
  const promptTokens = engine.model.tokenize(prompt).length + 1;
  const room = engine.contextTokens - promptTokens;
  if (room < 1) throw new BadRequest(`prompt of ${promptTokens} tokens does not fit a context of ${engine.contextTokens}`);
  const wanted = body.max_tokens ?? body.max_completion_tokens ?? 16;
  if (!Number.isInteger(wanted) || wanted < 1) throw new BadRequest('max_tokens must be a positive integer');
  return {
    prompt,
    promptTokens,
    maxTokens: Math.min(wanted, room),
    temperature: Number(body.temperature ?? 0),
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    model: typeof body.model === 'string' ? body.model : flags.alias,
  };
}

async function generate(res, ask, chat) {
  const cancel = new AbortController();
  res.on('close', () => {
    if (!res.writableFinished) cancel.abort();
  });
  if (res.destroyed) return;
  const object = chat ? (ask.stream ? 'chat.completion.chunk' : 'chat.completion') : 'text_completion';
  const base = {id: `${chat ? 'chatcmpl' : 'cmpl'}-${process.hrtime.bigint()}`, object, created: now(), model: ask.model};
  const event = (more) => res.write(`data: ${JSON.stringify({...base, ...more})}\n\n`);
  const piece = (text, finish) =>
    chat ? {index: 0, delta: text === null ? {} : {content: text}, finish_reason: finish}
         : {index: 0, text: text ?? '', finish_reason: finish};

  if (ask.stream) {
    res.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-cache'});
    if (chat) event({choices: [{index: 0, delta: {role: 'assistant', content: ''}, finish_reason: null}]});
  }
  await engine.sequence.clearHistory();
  const completion = new LlamaCompletion({contextSequence: engine.sequence, autoDisposeSequence: false});
  let completionTokens = 0;
  let text = '';
  try {
    text = await completion.generateCompletion(ask.prompt, {
      maxTokens: ask.maxTokens,
      temperature: ask.temperature,
      signal: cancel.signal,
      stopOnAbortSignal: true,
      onToken: (tokens) => { completionTokens += tokens.length; },
      onTextChunk: (chunk) => { if (ask.stream) event({choices: [piece(chunk, null)]}); },
    });
  } finally {
    completion.dispose();
  }
  if (cancel.signal.aborted) return;
  const finish = completionTokens >= ask.maxTokens ? 'length' : 'stop';
  const usage = {
    prompt_tokens: ask.promptTokens,
    completion_tokens: completionTokens,
    total_tokens: ask.promptTokens + completionTokens,
  };
  if (ask.stream) {
    event({choices: [piece(null, finish)]});
    if (ask.includeUsage) event({choices: [], usage});
    res.end('data: [DONE]\n\n');
  } else {
    const choice = chat ? {index: 0, message: {role: 'assistant', content: text}, finish_reason: finish}
                        : {index: 0, text, finish_reason: finish};
    sendJson(res, 200, {...base, choices: [choice], usage});
  }
}

async function answer(req, res) {
  const path = req.url.split('?')[0];
  if (path === '/health' && (req.method === 'GET' || req.method === 'HEAD')) {
    if (engine) return sendJson(res, 200, {status: 'ok'});
    return sendError(res, 503, 'loading model', 'unavailable_error');
  }
  if (!authorized(req)) return sendError(res, 401, 'invalid api key', 'authentication_error');
  if (!engine) return sendError(res, 503, 'loading model', 'unavailable_error');
  if (path === '/v1/models' && req.method === 'GET') {
    const entry = {id: flags.alias, object: 'model', created: now(), owned_by: 'llamacpp'};
    return sendJson(res, 200, {object: 'list', data: [entry]});
  }
  const chat = path === '/v1/chat/completions';
  if (!chat && path !== '/v1/completions') return sendError(res, 404, 'no such path', 'invalid_request_error');
  if (req.method !== 'POST') return sendError(res, 405, 'use POST', 'invalid_request_error');
  const ask = parseRequest(await readBody(req), chat);
  const turn = queue.then(() => generate(res, ask, chat));
  queue = turn.catch(() => {});
  await turn;
}

const server = http.createServer((req, res) => {
  answer(req, res).catch((error) => {
    const bad = error instanceof BadRequest;
    if (!bad) console.error(`engine: error: ${error.message}`);
    if (res.headersSent) res.destroy();
    else sendError(res, bad ? 400 : 500, bad ? error.message : 'engine failure', bad ? 'invalid_request_error' : 'server_error');
  });
});

function stop() {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), kStopSeconds * 1000).unref();
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

server.listen(flags.unix ? {path: flags.unix} : {host: '127.0.0.1', port: Number(flags.port)}, () => {
  const where = flags.unix ?? `127.0.0.1:${server.address().port}`;
  console.error(`engine: listening on ${where}`);
  loadEngine().then(
    () => console.error('engine: model loaded'),
    (error) => {
      console.error(`engine: error: cannot load the model: ${error.message}`);
      process.exit(1);
    });
});
