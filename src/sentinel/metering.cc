#include "sentinel/metering.h"

#include <algorithm>

#include "base/clock.h"
#include "meter/answer_body.h"
#include "meter/request_body.h"
#include "meter/usage_rule.h"
#include "sentinel/proxy/request_limits.h"

namespace tb::sentinel {
namespace {

using meter::Dialect;
using proxy::BodyTransform;
using proxy::Exchange;
using proxy::Refusal;

/// What a chat template adds to a request's own bytes, at most.
constexpr std::int64_t kTemplateTokens = 64;
/// Bytes that an event of one token may have, and what surrounds them, when an answer is read on for nobody.
constexpr std::uint64_t kDrainBytesEach = 4096, kDrainBytes = std::uint64_t{1} << 20;

struct Counters {
  explicit Counters(obs::Metrics& metrics)
      : counted(requests(metrics, "counted")),
        estimated(requests(metrics, "estimated")),
        disputed(requests(metrics, "disputed")),
        input(tokens(metrics, "input")),
        output(tokens(metrics, "output")),
        cut(metrics.counter("trustbridge_sentinel_streams_cut_total", "streams ended at the end of a token budget")),
        rate(refusals(metrics, "rate")),
        budget(refusals(metrics, "budget")),
        quota(refusals(metrics, "quota")) {}
  static obs::Counter& requests(obs::Metrics& metrics, const char* how) {
    return metrics.counter("trustbridge_sentinel_metered_requests_total",
                           "requests whose tokens were counted, by what is known of them", {{"usage", how}});
  }
  static obs::Counter& tokens(obs::Metrics& metrics, const char* direction) {
    return metrics.counter("trustbridge_sentinel_metered_tokens_total", "tokens that are billed",
                           {{"direction", direction}});
  }
  static obs::Counter& refusals(obs::Metrics& metrics, const char* limit) {
    return metrics.counter("trustbridge_sentinel_token_refusals_total", "requests refused by a limit of tokens",
                           {{"limit", limit}});
  }
  obs::Counter &counted, &estimated, &disputed, &input, &output, &cut, &rate, &budget, &quota;
};

/// What all visits share. On the proxy's loop.
struct Shared {
  meter::Budgets& budgets;
  UnderwayBook& underway;
  MeteringOptions options;
  Counters counters;
};

std::string_view path_of(const Exchange& exchange) {
  const std::string_view target = exchange.request.target;
  return target.substr(0, target.find('?'));
}

bool has_coding(const proxy::Fields& fields) {
  const auto codings = proxy::list_members(fields, "content-encoding");
  return std::ranges::any_of(codings, [](std::string_view c) { return !proxy::equal_fold(c, "identity"); });
}

class RequestTransform final : public BodyTransform {
 public:
  RequestTransform(Dialect dialect, std::uint64_t announced_bytes, meter::RequestBody::Judge judge)
      : body_(dialect, std::move(judge)) {
    body_.expect(announced_bytes);
  }
  std::optional<Refusal> feed(ByteView in, bool last, std::string& out) override {
    const auto fault = body_.feed(as_text(in), last, out);
    if (!fault) return std::nullopt;
    return Refusal{fault->status, fault->code, fault->message, retry_after_seconds};
  }
  const meter::RequestFacts& facts() const { return body_.facts(); }
  int retry_after_seconds = 0;

 private:
  meter::RequestBody body_;
};

class AnswerTransform final : public BodyTransform {
 public:
  AnswerTransform(meter::AnswerTerms terms, UnderwayBook::Note& note) : body_(terms), note_(note) {}
  std::optional<Refusal> feed(ByteView in, bool last, std::string& out) override {
    body_.feed(as_text(in), last, out);
    note_.output.store(body_.tally().seen, std::memory_order_relaxed);
    return std::nullopt;
  }
  bool ends_here() const override { return body_.ended(); }
  const meter::AnswerTally& tally() const { return body_.tally(); }

 private:
  meter::AnswerBody body_;
  UnderwayBook::Note& note_;
};

class MeteringVisit final : public proxy::Visit {
 public:
  explicit MeteringVisit(Shared& shared) : shared_(shared) {}
  ~MeteringVisit() override { settle(std::nullopt, 0); }

  std::optional<Refusal> on_request(Exchange& exchange) override {
    if (exchange.request.method != "POST") return std::nullopt;
    dialect_ = meter::dialect_of(path_of(exchange));
    if (dialect_ == Dialect::kNone) {
      // Nothing is known of its tokens; it is a request all the same.
      const auto fault = reserve(exchange, {.subject = exchange.subject});
      if (!fault) return std::nullopt;
      return Refusal{fault->status, fault->code, fault->message, retry_after_seconds_};
    }
    if (has_coding(exchange.request.fields)) {
      return Refusal{415, "unsupported_content_encoding", "requests to a model must not be compressed"};
    }
    // An answer that is compressed cannot be counted.
    auto& fields = exchange.request.fields;
    std::erase_if(fields, [](const auto& field) { return proxy::equal_fold(field.name, "accept-encoding"); });
    fields.push_back({"Accept-Encoding", "identity"});
    return std::nullopt;
  }

  BodyTransform* request_transform(Exchange& exchange) override {
    if (dialect_ == Dialect::kNone) return nullptr;
    const std::uint64_t announced = exchange.request.framing == proxy::Framing::kLength ? exchange.request.length : 0;
    request_.emplace(dialect_, announced,
                     [this, &exchange](const meter::RequestFacts& facts) { return judge(exchange, facts); });
    return &*request_;
  }

  BodyTransform* response_transform(Exchange&, proxy::ResponseHead& head) override {
    answered_ = head.status >= 200 && head.status < 300;
    if (!answered_ || !grant_ || !request_ || !note_) return nullptr;
    const auto* type = proxy::find_field(head.fields, "content-type");
    terms_.form =
        has_coding(head.fields) || type == nullptr ? meter::AnswerForm::kOther : meter::answer_form(type->value);
    answer_.emplace(terms_, **note_);
    return &*answer_;
  }

  std::optional<proxy::DrainBounds> on_client_left(Exchange&) override {
    if (!grant_ || !request_) return std::nullopt;
    const auto tokens = static_cast<std::uint64_t>(std::max<std::int64_t>(0, grant_->output()));
    return proxy::DrainBounds{.ms = shared_.options.drain_ms, .bytes = kDrainBytes + tokens * kDrainBytesEach};
  }

  void on_end(Exchange& exchange) override {
    if (!grant_) return;
    const std::uint64_t bytes = exchange.request_bytes + exchange.response_bytes;
    if (!answer_) return settle(answered_ ? std::optional(meter::TokenUsage{}) : std::nullopt, bytes);
    const meter::TokenUsage usage = meter::weigh_usage(answer_->tally(), bounds_);
    exchange.usage = usage;
    Counters& counters = shared_.counters;
    (usage.disputed ? counters.disputed : usage.estimated ? counters.estimated : counters.counted).add();
    counters.input.add(static_cast<std::uint64_t>(usage.input_tokens));
    counters.output.add(static_cast<std::uint64_t>(usage.output_tokens));
    if (answer_->tally().cut) counters.cut.add();
    settle(usage, bytes);
  }

 private:
  std::expected<meter::RequestVerdict, meter::BodyFault> judge(Exchange& exchange, const meter::RequestFacts& facts) {
    const std::int64_t context = shared_.options.context_tokens;
    const std::int64_t all = context * std::max<std::int64_t>(1, facts.prompts);
    const std::int64_t by_bytes = static_cast<std::int64_t>(facts.bytes) + kTemplateTokens;
    exchange.model = facts.model;
    meter::TokenWant want{.subject = exchange.subject,
                          .input = facts.input_unbounded ? all : std::min(by_bytes, all),
                          .output_each = std::min(facts.output_each.value_or(context), context),
                          .sequences = facts.sequences};
    if (auto fault = reserve(exchange, std::move(want))) {
      request_->retry_after_seconds = retry_after_seconds_;
      return std::unexpected(*fault);
    }
    bounds_ = {.input_estimate = std::min(meter::tokens_of_bytes(facts.bytes), grant_->input),
               .input_most = grant_->input,
               .output_most = grant_->output()};
    terms_ = {.dialect = dialect_,
              .usage_asked = facts.usage_asked || !facts.stream,
              .echoes = facts.echoes,
              .input_estimate = bounds_.input_estimate};
    if (grant_->limited) terms_.cut_after = grant_->output();
    note_ = shared_.underway.begin(exchange.request_id, exchange.subject, path_of(exchange), facts.model,
                                   bounds_.input_estimate, exchange.started_boot_ms);
    return meter::RequestVerdict{grant_->lowered ? std::optional(grant_->output_each) : std::nullopt};
  }

  std::optional<meter::BodyFault> reserve(Exchange& exchange, meter::TokenWant want) {
    using Why = meter::TokenRefusal::Why;
    want.limits = {.per_minute = exchange.limits.tokens_per_minute, .total = exchange.limits.token_budget};
    if (shared_.budgets.is_unlimited(want.limits)) {
      grant_ = meter::Budgets::grant_of(want);
      return std::nullopt;
    }
    const std::int64_t now = boot_ms_now();
    const auto granted = shared_.budgets.reserve(want, now, shared_.options.clock());
    if (const auto rate = shared_.budgets.rate(want.subject, want.limits, now)) {
      exchange.answer_fields.push_back({"x-ratelimit-limit-tokens", std::to_string(rate->limit)});
      exchange.answer_fields.push_back({"x-ratelimit-remaining-tokens", std::to_string(rate->remaining)});
      exchange.answer_fields.push_back({"x-ratelimit-reset-tokens", proxy::reset_text(rate->reset_ms)});
    }
    if (granted) {
      grant_ = *granted;
      return std::nullopt;
    }
    Counters& counters = shared_.counters;
    const auto& refusal = granted.error();
    (refusal.why == Why::kRate ? counters.rate : refusal.why == Why::kBudget ? counters.budget : counters.quota).add();
    if (refusal.why == Why::kRate) {
      retry_after_seconds_ = static_cast<int>((refusal.retry_after_ms + 999) / 1000);
      return meter::BodyFault{429, "rate_limit_exceeded", "this key has used up its tokens per minute"};
    }
    if (refusal.why == Why::kBudget) {
      return meter::BodyFault{402, "quota_exhausted",
                              "less is left of this key's token budget than the request may cost"};
    }
    return meter::BodyFault{402, "quota_exhausted", "less is left of the contract's quota than the request may cost"};
  }

  void settle(const std::optional<meter::TokenUsage>& usage, std::uint64_t bytes) {
    if (note_) shared_.underway.end(*note_);
    note_.reset();
    if (!grant_) return;
    if (grant_->number != 0 || shared_.budgets.has_quotas()) {
      shared_.budgets.settle(grant_->number, usage, bytes, boot_ms_now(), shared_.options.clock());
    }
    grant_.reset();
  }

  Shared& shared_;
  Dialect dialect_ = Dialect::kNone;
  std::optional<RequestTransform> request_;
  std::optional<AnswerTransform> answer_;
  std::optional<meter::TokenGrant> grant_;
  meter::UsageBounds bounds_;
  meter::AnswerTerms terms_;
  std::optional<UnderwayBook::Place> note_;
  int retry_after_seconds_ = 0;
  bool answered_ = false;
};

class MeteringFilter final : public proxy::Filter {
 public:
  explicit MeteringFilter(Shared shared) : shared_(std::move(shared)) {}
  std::unique_ptr<proxy::Visit> visit(const Exchange&) override { return std::make_unique<MeteringVisit>(shared_); }

 private:
  Shared shared_;
};

}  // namespace

meter::TokenCounts metered_tokens(obs::Metrics& metrics) {
  const Counters counters(metrics);
  return {.input = static_cast<std::int64_t>(counters.input.value()),
          .output = static_cast<std::int64_t>(counters.output.value())};
}

std::unique_ptr<proxy::Filter> metering_filter(meter::Budgets& budgets, UnderwayBook& underway, obs::Metrics& metrics,
                                               MeteringOptions options) {
  return std::make_unique<MeteringFilter>(
      Shared{.budgets = budgets, .underway = underway, .options = std::move(options), .counters = Counters(metrics)});
}

}  // namespace tb::sentinel
