#include "cli/package.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "cli/key_file.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

std::string today() {
  constexpr std::size_t kDateBytes = 10;
  return to_rfc3339(unix_ms_now()).substr(0, kDateBytes);
}

// The plan with what the settings say of the control plane.
azure::AppPlan completed(azure::AppPlan plan, const SettingFlags& flags) {
  const Settings settings = settle(flags);
  plan.control_plane_url = settings.edc_endpoint;
  while (plan.control_plane_url.ends_with('/')) plan.control_plane_url.pop_back();
  if (!settings.control_plane_key.empty()) {
    plan.control_plane_key = to_base64url(ByteView(read_public_key(settings.control_plane_key)));
  }
  return azure::checked(std::move(plan));
}

}  // namespace

Packaged make_package(const PackageOptions& options, const SettingFlags& settings) {
  if (!options.force) require_free(options.output);
  const azure::PackageFiles files = azure::app_files(completed(options.plan, settings));
  const auto findings = azure::check_package(files, today());
  if (std::ranges::any_of(findings, &azure::Finding::blocks)) {
    throw Error("package_refused", "what was made does not pass: " + shown(findings));
  }
  const std::string zip = azure::zip_of(files);
  constexpr mode_t kReadable = 0644;
  value_or_throw(write_file_atomically(options.output, zip, kReadable, options.force));
  Packaged out{.path = options.output, .sha256 = sha256_hex(zip), .bytes = zip.size(), .files = {}};
  for (const auto& [name, text] : files) out.files.push_back(name);
  return out;
}

std::vector<azure::Finding> look_at_package(const std::string& path) {
  return azure::check_package(azure::read_package(path), today());
}

std::string shown(const std::vector<azure::Finding>& findings) {
  std::string out;
  for (const azure::Finding& finding : findings) {
    const std::string line = finding.line == 0 ? "" : fmt::format(":{}", finding.line);
    out += fmt::format("{}{} {}: {}{}{}\n    {}: {}\n", finding.file, line, finding.blocks ? "error" : "warning",
                       printable(finding.message), finding.pointer.empty() ? "" : " at ", printable(finding.pointer),
                       finding.rule, finding.hint);
  }
  if (!out.empty()) out.pop_back();
  return out;
}

Json to_json(const std::vector<azure::Finding>& findings) {
  Json out = Json::array();
  for (const azure::Finding& finding : findings) {
    Json one = Json::object();
    one.set("rule", finding.rule);
    one.set("severity", finding.blocks ? "error" : "warning");
    one.set("file", finding.file);
    one.set("pointer", finding.pointer);
    if (finding.line != 0) one.set("line", std::uint64_t{finding.line});
    one.set("message", finding.message);
    one.set("hint", finding.hint);
    out.push(std::move(one));
  }
  return out;
}

}  // namespace tb::cli
