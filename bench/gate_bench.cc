// What the gate's own filters cost one request, part by part: who may, how much, which path, what must not be told. The
// whole proxy beside nginx is measured by others.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/clock.h"
#include "base/crypto.h"
#include "jose/signing_test.h"
#include "sentinel/proxy/allowed_paths.h"
#include "sentinel/proxy/metrics_filter.h"
#include "sentinel/proxy/path_rewrite.h"
#include "sentinel/proxy/request_limits.h"
#include "sentinel/token_check.h"

namespace {

using namespace tb;
using namespace tb::sentinel;
using namespace tb::jose::testing_keys;

/// A good key among so many.
void api_key(benchmark::State& state) {
  std::string pattern = "/dev/shm/tb-gate-bench-XXXXXX";
  const std::string dir = mkdtemp(pattern.data());
  const std::string path = dir + "/keys";
  const std::string good = add_api_key(path, "a", true, false, 0).key.reveal();
  std::string text;
  for (std::int64_t i = 1; i < state.range(0); ++i) {
    text += to_json(ApiKey{.id = fmt::format("key-{}", i), .name = "n", .sha256 = sha256_hex(fmt::format("{}", i))})
                .dump() +
            "\n";
  }
  {
    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "a"), std::fclose);
    std::fputs(text.c_str(), file.get());
  }
  const ApiKeys keys(path);
  for (auto _ : state) {
    if (!keys.check(good)) std::abort();
  }
  std::filesystem::remove_all(dir);
}

std::shared_ptr<const jose::VerifyKeySet> set_of(const Key& key) {
  Json jwk = jwk_of(key.get());
  jwk.set("kid", "k");
  return std::make_shared<const jose::VerifyKeySet>(jose::VerifyKeySet::parse(R"({"keys":[)" + jwk.dump() + "]}"));
}

struct Algorithm {
  const char* name;
  Key key;
};
Algorithm algorithm(std::int64_t number) {
  if (number == 0) return {"RS256", make_rsa()};
  if (number == 1) return {"PS256", make_rsa()};
  if (number == 2) return {"ES256", make_p256()};
  return {"EdDSA", make_ed25519()};
}

std::string token_of(const Algorithm& algorithm) {
  return compact(
      fmt::format(R"({{"alg":"{}","kid":"k","typ":"at+jwt"}})", algorithm.name),
      fmt::format(R"({{"iss":"https://issuer.example","aud":"models","sub":"alice","exp":{},"scope":"openid infer"}})",
                  unix_ms_now() / 1000 + 3600),
      algorithm.key.get(), algorithm.name);
}

const TokenRules kRules{.issuer = "https://issuer.example", .audience = "models", .scope = "infer"};

/// The first use of a token.
void new_token(benchmark::State& state) {
  const Algorithm by = algorithm(state.range(0));
  const auto keys = set_of(by.key);
  const std::string token = token_of(by);
  for (auto _ : state) {
    if (!check_user_token(token, kRules, *keys, unix_ms_now(), [] { return true; })) std::abort();
  }
  state.SetLabel(by.name);
}

/// Every further one.
void known_token(benchmark::State& state) {
  const Algorithm by = algorithm(2);
  const auto keys = set_of(by.key);
  const std::string token = token_of(by);
  TokenCheck check(kRules, [&] { return keys; });
  for (auto _ : state) {
    if (!check.check(token, unix_ms_now(), boot_ms_now())) std::abort();
  }
}

void request_limits(benchmark::State& state) {
  proxy::RequestLimits limits;
  const KeyLimits rule{.requests_per_minute = 1'000'000'000, .concurrent_requests = 8};
  for (auto _ : state) {
    benchmark::DoNotOptimize(limits.admit("key-12345678", rule, boot_ms_now()));
    limits.leave("key-12345678");
  }
}

void find_route(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(proxy::find_route("POST", "/v1/chat/completions"));
}

/// An answer of so many bytes, as a model writes: line ends, quotes, now and then a slash.
void path_rewrite(benchmark::State& state) {
  const proxy::HiddenPaths hidden({"/dev/shm/trustbridge/model", "/dev/shm/model-pipe"}, "asset-1");
  std::string text = R"({"choices":[{"message":{"content":")";
  while (text.size() < static_cast<std::size_t>(state.range(0))) {
    text += R"(A line of an answer with some words, and/or a \"quote\" in it, about as long as people write them.\n)";
  }
  text += R"("}}]})";
  std::string out;
  for (auto _ : state) {
    proxy::PathRewrite rewrite(hidden);
    out.clear();
    rewrite.feed(as_bytes(text), true, out);
    if (out != text) std::abort();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}

void metrics(benchmark::State& state) {
  obs::Metrics all;
  const auto filter = proxy::metrics_filter(all, "asset-1");
  proxy::Exchange exchange;
  exchange.request.method = "POST";
  exchange.request.target = "/v1/chat/completions";
  exchange.status = 200;
  exchange.outcome = Outcome::kComplete;
  exchange.usage = meter::TokenUsage{.input_tokens = 100, .output_tokens = 100};
  for (auto _ : state) {
    const auto visit = filter->visit(exchange);
    visit->on_response_chunk(exchange, {});
    visit->on_end(exchange);
  }
}

}  // namespace

BENCHMARK(api_key)->Arg(1)->Arg(100)->Arg(4000);
BENCHMARK(known_token);
BENCHMARK(new_token)->DenseRange(0, 3);
BENCHMARK(request_limits);
BENCHMARK(find_route);
BENCHMARK(metrics);
BENCHMARK(path_rewrite)->Arg(1024)->Arg(65536);
