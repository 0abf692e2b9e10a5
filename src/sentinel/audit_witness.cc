#include "sentinel/audit_witness.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/clock.h"
#include "base/result.h"
#include "sentinel/authorizer.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kWaitForLeaseMs = 1'000;
constexpr std::int64_t kFirstRetryMs = 2'000;
constexpr int kMostSizesTold = 3;

}  // namespace

AuditWitness::AuditWitness(AuditLog& audit, WitnessOptions options, Sources sources, obs::Log log)
    : audit_(audit),
      options_(std::move(options)),
      sources_(std::move(sources)),
      log_(std::move(log)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

AuditWitness::~AuditWitness() {
  finish(0);
}

void AuditWitness::finish(std::int64_t ms) {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  std::jthread timer;
  if (ms <= 0) {
    exchange_stop_.request_stop();
  } else {
    timer = std::jthread([this, ms](const std::stop_token& done) {
      std::mutex mutex;
      std::unique_lock lock(mutex);
      std::condition_variable_any().wait_for(lock, done, std::chrono::milliseconds(ms), [] { return false; });
      exchange_stop_.request_stop();
    });
  }
  thread_.join();
}

WitnessState AuditWitness::state() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

void AuditWitness::run(const std::stop_token& stop) {
  while (true) {
    const std::int64_t wait_ms = attempt(exchange_stop_.get_token());
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, std::chrono::milliseconds(wait_ms), [] { return false; });
    if (stop.stop_requested()) break;
  }
  // What came since, and what the log's end added.
  if (!exchange_stop_.stop_requested()) attempt(exchange_stop_.get_token());
}

std::int64_t AuditWitness::failed(const Error& error, bool worth_a_retry) {
  std::unique_lock lock(mutex_);
  const bool news = state_.fault != error.reason;
  state_.fault = error.reason;
  retry_ms_ = std::min(std::max(retry_ms_ * 2, kFirstRetryMs), options_.max_retry_ms);
  const std::int64_t wait_ms = worth_a_retry ? retry_ms_ : options_.refused_ms;
  lock.unlock();
  if (news) log_.error("the audit log's checkpoint was not countersigned", error, obs::Level::kWarn);
  return wait_ms;
}

/// Until the control plane and the log agree; gives how long to wait then.
std::int64_t AuditWitness::attempt(const std::stop_token& stop) {
  try {
    const std::string lease_id = sources_.lease_id();
    if (lease_id.empty()) return kWaitForLeaseMs;
    bool again = true;
    std::int64_t wait_ms = 0;
    for (int told = 0; again && told <= kMostSizesTold; ++told) {
      again = false;
      wait_ms = attempt_once(lease_id, again, stop);
    }
    return wait_ms;
  } catch (const Error& error) {
    return failed(error, true);
  }
}

std::int64_t AuditWitness::attempt_once(const std::string& lease_id, bool& again, const std::stop_token& stop) {
  const auto request = audit_.files().to_submit();
  if (!request) return options_.every_ms;
  const auto key = sources_.control_plane_key();
  const std::string target = fmt::format("/api/v1/audit/checkpoints?contract_id={}&lease_id={}&key={}",
                                         options_.contract_id, lease_id, to_base64url(audit_.files().public_key()));
  const auto answer = sources_.post(target, request->to_text(), "text/plain", stop);
  {
    const std::scoped_lock lock(mutex_);
    ++state_.answers;
  }
  const std::string code = problem_code(answer.body);
  if (answer.status == 200) {
    if (!key) throw Error("note_unverified", "no key of the control plane is known: its countersignature is not kept");
    take_signature(answer.body, *key, request->checkpoint);
    const std::scoped_lock lock(mutex_);
    state_.fault.clear();
    retry_ms_ = 0;
    return options_.every_ms;
  }
  if (answer.status == 409) return take_size(answer.body, again);
  if (answer.status == 422) {
    return failed(Error("log_forked", "the control plane does not find that the log continues what it has signed"),
                  false);
  }
  const bool retry = answer.status >= 500 || answer.status == 429 || code == "lease_not_found";
  return failed(Error("control_plane_refused", fmt::format("the control plane answered a checkpoint with {} {}",
                                                           answer.status, code.substr(0, 64))),
                retry);
}

void AuditWitness::take_signature(const std::string& body, const Ed25519PublicKey& key, const tlog::Note& shown) {
  const tlog::NoteKey known[] = {
      {.name = tlog::keyed_origin(key, "witness"), .type = tlog::SignatureType::kCosignature, .key = key}};
  for (const tlog::NoteSignature& signature : tlog::parse_signature_lines(body)) {
    if (signature.name != known[0].name || signature.key_id != known[0].id()) continue;
    tlog::verify({.text = shown.text, .signatures = {signature}}, known);
    audit_.files().countersigned(signature);
    log_.debug("checkpoint countersigned", {{"records", audit_.files().countersigned_records()}});
    return;
  }
  throw Error("note_unverified", "the control plane's answer has no signature of its key");
}

/// The control plane has another size of this log than the one that it was shown to grow from.
std::int64_t AuditWitness::take_size(const std::string& body, bool& again) {
  const std::uint64_t size =
      tlog::parse_size(std::string_view(body).substr(0, body.find('\n')), "the size that the control plane has");
  switch (audit_.files().witness_is_at(size)) {
    case AuditFiles::WitnessView::kContinue:
      again = true;
      return 0;
    case AuditFiles::WitnessView::kLogIsShorter: {
      // Not at will: whoever says so again and again would have the log in pieces.
      const std::int64_t now = boot_ms_now();
      const bool may = !anew_boot_ms_ || now - *anew_boot_ms_ >= options_.refused_ms;
      if (may) {
        anew_boot_ms_ = now;
        audit_.begin_new_origin(size);
      }
      return failed(Error("log_forked", fmt::format("the control plane says that it has signed {} records", size)),
                    may);
    }
    case AuditFiles::WitnessView::kContradiction:
      break;
  }
  return failed(Error("log_forked", "the control plane has signed another log of this origin and size"), false);
}

AuditWitness::Sources sources_of(const Authorizer& authorizer) {
  return {
      .post =
          [&authorizer](const std::string& target, std::string body, const std::string& type, std::stop_token stop) {
            return authorizer.post_as_holder(target, std::move(body), type, std::move(stop));
          },
      .lease_id = [&authorizer] { return authorizer.last_lease_id(); },
      .control_plane_key = [&authorizer] { return authorizer.pinned_key(); }};
}

}  // namespace tb::sentinel
