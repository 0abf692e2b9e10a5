#include "sentinel/proxy/filters.h"

#include "base/clock.h"

namespace tb::sentinel::proxy {
namespace {

class GateVisit final : public Visit {
 public:
  explicit GateVisit(const Gate& gate) : gate_(gate) {}
  std::optional<Refusal> on_request(Exchange&) override {
    const Gate::Door door = gate_.door();
    if (door == Gate::Door::kOpen) return std::nullopt;
    return reason_of(door);
  }

 private:
  const Gate& gate_;
};

class GateFilter final : public Filter {
 public:
  explicit GateFilter(const Gate& gate) : gate_(gate) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<GateVisit>(gate_); }

 private:
  const Gate& gate_;
};

}  // namespace

Refusal reason_of(Gate::Door door) {
  switch (door) {
    case Gate::Door::kSuspended:
      return {403, "contract_suspended", "the contract does not allow this model to be used now"};
    case Gate::Door::kTraining:
      return {503, "training", "the model is being trained"};
    case Gate::Door::kNotReady:
    case Gate::Door::kOpen:
      break;
  }
  return {503, "not_ready", "the model is not ready yet"};
}

std::unique_ptr<Filter> gate_filter(const Gate& gate) {
  return std::make_unique<GateFilter>(gate);
}

}  // namespace tb::sentinel::proxy
