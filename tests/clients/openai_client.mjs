// OpenAI's own client against a sentinel, as a consumer's program would use it. Prints what each step saw, one JSON object a
// line; tests/e2e/clients_test.py says what that must be.
//
//   node openai_client.mjs STEP BASE_URL KEY
import {createRequire} from 'node:module';
import {pathToFileURL} from 'node:url';

// The package lies in build/clients, not beside this file.
const require = createRequire(process.env.TB_CLIENTS + '/');
const {default: OpenAI} = await import(pathToFileURL(require.resolve('openai')).href);

const [step, baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({baseURL, apiKey, maxRetries: 0, timeout: 120_000});
const messages = [{role: 'user', content: 'tell me a story'}];
const ask = (more, options) =>
  client.chat.completions.create({model: 'asset', messages, max_tokens: 16, temperature: 0, ...more}, options);
const say = (value) => console.log(JSON.stringify(value));

/// What a caller's catch block sees.
async function caught(work) {
  try {
    return {value: await work()};
  } catch (error) {
    return {
      error: error.constructor.name, status: error.status, code: error.code, type: error.type, message: error.message,
      requestId: error.requestID, isApiError: error instanceof OpenAI.APIError,
      headers: error.headers ? Object.fromEntries(error.headers) : undefined,
    };
  }
}

async function streamed(more, onChunk = () => {}) {
  let text = '', usage = null, chunks = 0, usageChunks = 0;
  for await (const chunk of await ask({stream: true, ...more})) {
    chunks += 1;
    text += chunk.choices[0]?.delta?.content ?? '';
    if (chunk.usage) { usage = chunk.usage; usageChunks += 1; }
    await onChunk(chunks);
  }
  return {text, usage, chunks, usageChunks};
}

const steps = {
  async plain() {
    const {data, response} = await ask({}).withResponse();
    say({
      text: data.choices[0].message.content, usage: data.usage, requestId: data._request_id,
      headers: Object.fromEntries(response.headers),
    });
  },
  async completion() {
    const data = await client.completions.create({model: 'asset', prompt: 'once', max_tokens: 8, temperature: 0});
    say({text: data.choices[0].text, usage: data.usage});
  },
  async streamed() {
    say(await streamed({}));
    say(await streamed({stream_options: {include_usage: true}}));
  },
  async cancelled() {
    // As a user who closes the page: after the second piece.
    const abort = new AbortController();
    const stream = await ask({stream: true, max_tokens: 400}, {signal: abort.signal});
    let chunks = 0;
    for await (const _ of stream) {
      if (++chunks === 2) abort.abort();
    }
    say({chunks});
  },
  async concurrent() {
    const all = await Promise.all(Array.from({length: 8}, (_, i) =>
      i % 2 ? streamed({max_tokens: 12}).then((r) => r.text) : ask({max_tokens: 12}).then((r) => r.choices[0].message.content)));
    say({texts: all});
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    say({ids});
  },
  async refusal() {
    say(await caught(() => ask({})));
  },
  async refusals_of_paths() {
    say(await caught(() => client.post('/load_lora_adapter', {body: {lora_name: 'a', lora_path: '/etc'}})));
    say(await caught(() => client.files.list()));
    say(await caught(() => client.responses.retrieve('resp_1')));
    say(await caught(() => client.get('/../metrics')));
  },
  async limited() {
    for (let i = 0; i < 3; i += 1) say(await caught(() => ask({max_tokens: 1}).then((r) => r.choices.length)));
  },
  async crowded() {
    // On a busy machine the stream may be over before the second is asked: then once more.
    let second = {};
    for (let i = 0; i < 20 && !second.error; i += 1) {
      let first;
      const started = new Promise((resolve) => { first = resolve; });
      const stream = streamed({max_tokens: 200}, first);
      await started;
      second = await caught(() => ask({max_tokens: 1}));
      await stream;
    }
    say(second);
    say(await caught(() => ask({max_tokens: 1}).then((r) => r.choices.length)));
  },
  async retried() {
    // The client's own back-off, by what the answer tells it.
    const patient = new OpenAI({baseURL, apiKey, maxRetries: 5, timeout: 120_000});
    const work = () => patient.chat.completions.create({model: 'asset', messages, max_tokens: 1});
    const began = Date.now();
    for (let i = 0; i < 3; i += 1) await work();
    say({ms: Date.now() - began});
  },
  async cut() {
    // Streams until somebody ends it; says so when it has begun.
    const seen = {chunks: 0};
    const end = await caught(async () => {
      for (;;) {
        await streamed({max_tokens: 400}, (n) => {
          seen.chunks += 1;
          if (seen.chunks === 2) say({streaming: true});
        });
      }
    });
    say({...end, chunks: seen.chunks});
    say(await caught(() => ask({max_tokens: 1})));
  },
};

await steps[step]();
