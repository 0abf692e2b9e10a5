// What reading the bodies of one request costs the proxy's loop: a request and an answer of 1 KiB and 64 KiB, and one
// event of a stream.
#include <benchmark/benchmark.h>

#include <string>

#include "base/crypto.h"
#include "meter/answer_body.h"
#include "meter/request_body.h"

namespace {

using namespace tb::meter;

std::string filled(std::string before, std::size_t bytes, const std::string& after) {
  return before + std::string(bytes - before.size() - after.size(), 'x') + after;
}

void request(benchmark::State& state) {
  const std::string text = filled(R"({"model":"m","messages":[{"role":"user","content":")",
                                  static_cast<std::size_t>(state.range(0)), R"("}],"max_tokens":100})");
  std::string out;
  for (auto _ : state) {
    out.clear();
    RequestBody body(Dialect::kChat, [](const RequestFacts&) { return RequestVerdict{}; });
    body.feed(text, true, out);
    benchmark::DoNotOptimize(out);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(request)->Arg(1024)->Arg(65536);

void answer(benchmark::State& state) {
  const std::string text = filled(R"({"choices":[{"message":{"content":")", static_cast<std::size_t>(state.range(0)),
                                  R"("}}],"usage":{"prompt_tokens":9,"completion_tokens":2}})");
  std::string out;
  for (auto _ : state) {
    out.clear();
    AnswerBody body({.form = AnswerForm::kJson});
    body.feed(text, true, out);
    benchmark::DoNotOptimize(body.tally().output);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(answer)->Arg(1024)->Arg(65536);

void event(benchmark::State& state) {
  const std::string text =
      "data: {\"id\":\"chatcmpl-8a3f\",\"object\":\"chat.completion.chunk\",\"created\":1795651200,\"model\":\"m\","
      "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
  std::string out;
  AnswerBody body({.form = AnswerForm::kEvents, .usage_asked = false});
  for (auto _ : state) {
    out.clear();
    body.feed(text, false, out);
    benchmark::DoNotOptimize(out);
  }
}
BENCHMARK(event);

/// Beside which the others are to be seen: the audit hashes every body.
void sha256(benchmark::State& state) {
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(tb::sha256_hex(text));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256)->Arg(1024)->Arg(65536);

}  // namespace
