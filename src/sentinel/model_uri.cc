#include "sentinel/model_uri.h"

#include "api/asset.h"
#include "base/error.h"

namespace tb::sentinel {
namespace {

constexpr std::string_view kScheme = "trustbridge://";

}  // namespace

ModelUri parse_model_uri(std::string_view text) {
  const std::string_view rest = text.starts_with(kScheme) ? text.substr(kScheme.size()) : std::string_view();
  const std::size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view contract = rest.substr(0, slash), asset = rest.substr(slash + 1);
    if (api::valid_name(contract) && api::valid_asset_id(asset)) return {std::string(contract), std::string(asset)};
  }
  throw Error("config_invalid", "a model is named trustbridge://CONTRACT/ASSET, by the ids of both");
}

std::string to_text(const ModelUri& uri) {
  return std::string(kScheme) + uri.contract_id + "/" + uri.asset_id;
}

}  // namespace tb::sentinel
