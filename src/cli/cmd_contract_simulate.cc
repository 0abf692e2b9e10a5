// contract simulate: what other terms would have refused and allowed, before they are made.
#include <fmt/format.h>

#include "cli/contract_flags.h"

namespace tb::cli {
namespace {

struct Flags {
  TermFlags terms;
  SettingFlags settings;
  std::string id, since = "7d", until;
  bool at_now = false;
};

std::string text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  if (value == nullptr || value->is_null()) return "-";
  return printable(value->is_string() ? value->as_string() : value->dump());
}

const Json& member(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  if (value == nullptr || !value->is_object()) {
    throw Error("answer_malformed", fmt::format("the control plane's answer has no {}", name));
  }
  return *value;
}

/// A time, or how long ago.
std::string time_before(const std::string& text, UnixMs now, std::string_view flag) {
  if (const Result<UnixMs> time = from_rfc3339(text)) return to_rfc3339(*time, true);
  if (const Result<std::int64_t> ago = duration_ms(text)) return to_rfc3339(now - *ago, true);
  throw Error("usage", fmt::format("{} is neither a time nor a duration", flag))
      .with_hint("write 2026-12-31T23:59:59Z, or 7d");
}

std::string change_lines(const Json& report, std::string_view name, std::string_view words) {
  const Json& change = member(report, name);
  std::string text = fmt::format("{:<18} {:>7} requests, {} leases, {} machines\n", words, text_of(change, "requests"),
                                 text_of(change, "leases"), text_of(change, "machines"));
  for (const auto& [reason, requests] : member(change, "by_reason").as_object()) {
    text += fmt::format("  {:<24} {:>7}\n", printable(reason), printable(requests.dump()));
  }
  return text;
}

std::string report_text(const Json& report) {
  std::string text =
      fmt::format("{}  {} to {}\n", text_of(report, "contract_id"), text_of(report, "from"), text_of(report, "to"));
  text += fmt::format("{:<18} {:>7} requests\n", "replayed", text_of(report, "replayed"));
  text += change_lines(report, "newly_refused", "would be refused");
  text += change_lines(report, "newly_allowed", "would be allowed");
  text += change_lines(report, "refused_otherwise", "refused otherwise");
  const Json* examples = report.find("examples");
  if (examples == nullptr || !examples->is_array() || examples->as_array().empty()) return text;
  text += fmt::format("\n{:<25} {:<24} {:<20} {}\n", "time", "lease", "change", "machine");
  for (const Json& example : examples->as_array()) {
    text += fmt::format("{:<25} {:<24} {} -> {}  {}\n", text_of(example, "time"), text_of(example, "lease_id"),
                        text_of(example, "from"), text_of(example, "to"), text_of(example, "hw_id"));
  }
  return text;
}

/// What a reader would take for granted, and must not.
void warn(const Json& report, const Console& console) {
  const Json& not_replayable = member(report, "not_replayable");
  const auto some = [&](const Json& json, const char* name) { return text_of(json, name) != "0"; };
  if (some(not_replayable, "without_facts")) {
    console.warning(fmt::format("{} requests are older than what this needs to know of them, and were not replayed",
                                text_of(not_replayable, "without_facts")));
  }
  if (some(not_replayable, "evidence_not_kept")) {
    console.warning(fmt::format("{} requests showed evidence that was judged under other terms, and were not replayed",
                                text_of(not_replayable, "evidence_not_kept")));
  }
  if (some(report, "unlike_the_record")) {
    console.warning(fmt::format("the present terms answer {} of the requests otherwise than they were answered then",
                                text_of(report, "unlike_the_record")));
  }
  const Json* complete = report.find("complete");
  if (complete != nullptr && complete->is_bool() && !complete->as_bool()) {
    console.warning("there were more requests than are replayed at once: only those since " + text_of(report, "from"));
  }
}

void simulate(const Flags& flags, const Console& console) {
  const UnixMs now = unix_ms_now();
  const Json terms = terms_json(flags.terms, now);
  if (terms.as_object().empty()) throw usage_error("no change to simulate was given");
  Json body = Json::object();
  body.set("terms", terms);
  body.set("from", time_before(flags.since, now, "--since"));
  if (!flags.until.empty()) body.set("to", time_before(flags.until, now, "--until"));
  body.set("at", flags.at_now ? "now" : "event");
  ControlPlane control_plane(settle(flags.settings), console);
  const Json report = control_plane.send("POST", contract_path(flags.id, "/simulate"), body, Repeat::kHarmless).body;
  const std::string text = report_text(report);
  warn(report, console);
  console.result(report, text);
}

}  // namespace

void add_contract_simulate(Command contract, Context& context) {
  auto flags = std::make_shared<Flags>();
  const Command command =
      add_command(contract, context, "simulate", "say what other terms would have refused and allowed; changes nothing",
                  "trustbridge contract simulate acme-1 --max-seats 1 --since 7d");
  command.add_option("contract", flags->id, "the contract's id").required().type_name("CONTRACT");
  command.add_option("--since", flags->since, "requests from then on: RFC 3339, or so long ago [7d]").type_name("TIME");
  command.add_option("--until", flags->until, "requests until then: RFC 3339, or so long ago [now]").type_name("TIME");
  command.add_flag("--at-now", flags->at_now,
                   "hold not_before, not_after and quotas against now, not against the time of each request");
  add_term_flags(command, flags->terms);
  add_control_plane_flags(command, flags->settings);
  add_tenant_flag(command, flags->settings);
  command.callback([&context, flags] { context.action = [&context, flags] { simulate(*flags, context.console); }; });
}

}  // namespace tb::cli
