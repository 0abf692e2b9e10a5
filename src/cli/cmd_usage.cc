// usage: sums of what sentinels reported.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/control_plane.h"

namespace tb::cli {
namespace {

struct Flags {
  SettingFlags settings;
  std::string contract_id, asset_id, dimension, from, to, by = "day";
  bool csv = false;
};

std::string query_of(const Flags& flags, const std::string& cursor) {
  std::string out = "/api/v1/usage?limit=200&by=" + path_part(flags.by);
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) out += fmt::format("&{}={}", name, path_part(value));
  };
  add("contract_id", flags.contract_id);
  add("asset_id", flags.asset_id);
  add("dimension", flags.dimension);
  add("from", flags.from);
  add("to", flags.to);
  add("cursor", cursor);
  return out;
}

std::string member(const Json& row, std::string_view name) {
  const Json* value = row.find(name);
  if (value == nullptr) return {};
  return printable(value->is_string() ? value->as_string() : value->dump());
}

constexpr const char* kColumns[] = {"tenant", "contract_id", "asset_id", "dimension", "start", "quantity"};

/// A field of RFC 4180. What the control plane sends needs no quotes; another's answer might.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string csv_of(const Json::Array& rows) {
  std::string out = "tenant,contract_id,asset_id,dimension,start,quantity\r\n";
  for (const Json& row : rows) {
    for (const char* column : kColumns) {
      out += csv_field(member(row, column)) + (std::string_view(column) == "quantity" ? "\r\n" : ",");
    }
  }
  return out;
}

std::string table_of(const Json::Array& rows) {
  std::string out;
  for (const Json& row : rows) {
    out += fmt::format("{:<20}  {:<20}  {:<20}  {:<14}  {:>15}\n", member(row, "start"), member(row, "contract_id"),
                       member(row, "asset_id"), member(row, "dimension"), member(row, "quantity"));
  }
  if (!out.empty()) out.pop_back();
  return out;
}

void show(const Flags& flags, const Console& console) {
  if (flags.csv && console.json) throw usage_error("one of --csv and --json is enough");
  ControlPlane control_plane(settle(flags.settings), console);
  Json::Array rows;
  Json gaps = Json::array();
  for (std::string cursor;;) {
    const Json page = control_plane.get(query_of(flags, cursor)).body;
    const Json* items = page.find("items");
    if (items == nullptr || !items->is_array())
      throw Error("answer_malformed", "the control plane's answer has no items");
    rows.insert(rows.end(), items->as_array().begin(), items->as_array().end());
    if (const Json* told = page.find("gaps"); told != nullptr && told->is_array()) gaps = *told;
    const Json* next = page.find("next_cursor");
    if (next == nullptr || !next->is_string() || next->as_string() == cursor) break;
    cursor = next->as_string();
  }
  for (const Json& gap : gaps.as_array()) {
    console.warning(fmt::format("{} records of {} were never reported for contract {}", member(gap, "missing_records"),
                                member(gap, "origin"), member(gap, "contract_id")));
  }
  if (flags.csv) return console.data(csv_of(rows));
  Json result = Json::object();
  result.set("items", rows);
  result.set("gaps", gaps);
  console.result(result, table_of(rows));
}

}  // namespace

void add_usage(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  const Command command = add_command(root, context, "usage", "show what was used, by contract, asset and time",
                                      "trustbridge usage --contract acme-1 --by hour --csv");
  command.add_option("--contract", flags->contract_id, "of this contract only").type_name("CONTRACT");
  command.add_option("--asset-id", flags->asset_id, "of this asset only").type_name("ID");
  command.add_option("--dimension", flags->dimension, "requests, tokens, input_tokens, output_tokens, bytes, …")
      .type_name("NAME");
  command.add_option("--from", flags->from, "hours from this time on, RFC 3339").type_name("TIME");
  command.add_option("--to", flags->to, "hours before this time, RFC 3339").type_name("TIME");
  command.add_option("--by", flags->by, "hour, day or total [day]")
      .type_name("PERIOD")
      .one_of({"hour", "day", "total"});
  command.add_flag("--csv", flags->csv, "print CSV");
  add_control_plane_flags(command, flags->settings);
  add_tenant_flag(command, flags->settings);
  command.callback([&context, flags] { context.action = [&context, flags] { show(*flags, context.console); }; });
}

}  // namespace tb::cli
