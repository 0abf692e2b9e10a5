// events: what happened at the control plane, oldest first. `audit verify` proves the same log.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/control_plane.h"

namespace tb::cli {
namespace {

struct Flags {
  SettingFlags settings;
  std::string type, subject;
  std::int64_t after = -1;
};

std::string text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  if (value == nullptr || value->is_null()) return "-";
  return printable(value->is_string() ? value->as_string() : value->dump());
}

/// The words of a line; the facts that a simulation reads would hide them.
std::string event_line(const Json& event) {
  Json detail = Json::object();
  if (const Json* all = event.find("detail"); all != nullptr && all->is_object()) detail = *all;
  detail.erase("facts");
  return fmt::format("{:>8}  {}  {:<24} {:<24} {:<14} {}\n", text_of(event, "seq"), text_of(event, "ts"),
                     text_of(event, "type"), text_of(event, "subject"), text_of(event, "actor"),
                     printable(detail.dump()));
}

bool is_wanted(const Flags& flags, const Json& event) {
  return (flags.type.empty() || text_of(event, "type") == flags.type) &&
         (flags.subject.empty() || text_of(event, "subject") == flags.subject);
}

/// Page by page, so that a long log needs no memory.
void show(const Flags& flags, const Console& console) {
  ControlPlane control_plane(settle(flags.settings), console);
  for (std::string cursor = flags.after < 0 ? "" : std::to_string(flags.after);;) {
    std::string path = "/api/v1/events?limit=200";
    if (!cursor.empty()) path += "&cursor=" + path_part(cursor);
    const Json page = control_plane.get(path).body;
    const Json* items = page.find("items");
    if (items == nullptr || !items->is_array()) {
      throw Error("answer_malformed", "the control plane's answer has no items");
    }
    for (const Json& item : items->as_array()) {
      const Json* event = item.find("event");
      if (event == nullptr || !is_wanted(flags, *event)) continue;
      console.data(console.json ? event->dump() + "\n" : event_line(*event));
    }
    const Json* next = page.find("next_cursor");
    if (next == nullptr || !next->is_string()) return;
    if (next->as_string() == cursor) throw Error("answer_malformed", "the list of events does not end");
    cursor = next->as_string();
  }
}

}  // namespace

void add_events(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  const Command command =
      add_command(root, context, "events", "show the control plane's event log; with --json one a line",
                  "trustbridge events --subject acme-1 --type license_denied");
  command.add_option("--after", flags->after, "events after this number [from the first]")
      .type_name("SEQ")
      .not_negative();
  command.add_option("--type", flags->type, "of this type only, as license_denied").type_name("TYPE");
  command.add_option("--subject", flags->subject, "about this contract or asset only").type_name("ID");
  add_control_plane_flags(command, flags->settings);
  add_tenant_flag(command, flags->settings);
  command.callback([&context, flags] { context.action = [&context, flags] { show(*flags, context.console); }; });
}

}  // namespace tb::cli
