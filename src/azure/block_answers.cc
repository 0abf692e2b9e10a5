#include "azure/block_answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <pugixml.hpp>
#include <set>

namespace tb::azure {
namespace {

bool is_code(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c); });
}

bool parse(pugi::xml_document& document, std::string_view xml) {
  return static_cast<bool>(document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8));
}

std::string_view reason_of_status(int status) {
  switch (status) {
    case 401:
    case 403:
      return "blob_refused";
    case 404:
      return "blob_not_found";
    case 409:
    case 412:
      return "precondition_failed";
    case 408:
      return "server_busy";
    default:
      return http::is_retryable_status(status) ? "server_busy" : "store_answer_unexpected";
  }
}

struct KnownFault {
  std::string_view code, reason, hint;
};

constexpr std::string_view kRights =
    "the credential must be this account's and may create and write blobs: the role Storage Blob Data Contributor, or "
    "a "
    "SAS with sp=rcw";
constexpr KnownFault kKnown[] = {
    {"AuthenticationFailed", "blob_refused",
     "the key is another account's, a token or SAS has expired, or this machine's clock is wrong by more than 15 "
     "minutes"},
    {"InvalidAuthenticationInfo", "blob_refused",
     "the key is not this account's, or the token is of another service or directory (AZURE_TENANT_ID)"},
    {"AuthorizationFailure", "blob_refused", kRights},
    {"AuthorizationPermissionMismatch", "blob_refused", kRights},
    {"AuthorizationResourceTypeMismatch", "blob_refused", kRights},
    {"AuthorizationServiceMismatch", "blob_refused", kRights},
    {"InsufficientAccountPermissions", "blob_refused", kRights},
    {"AuthorizationProtocolMismatch", "blob_refused", "the SAS serves https only"},
    {"AuthorizationSourceIPMismatch", "blob_refused", "the SAS serves another address than this machine's"},
    {"NoAuthenticationInformation", "blob_refused", kRights},
    {"PublicAccessNotPermitted", "blob_refused", kRights},
    {"AccountIsDisabled", "blob_refused", "the account is disabled: see its subscription"},
    {"ContainerNotFound", "container_not_found", ""},
    {"ResourceNotFound", "blob_not_found", "is the account's name right (--storage-account)?"},
    {"ContainerBeingDeleted", "server_busy", "the container is being deleted: wait, or choose another"},
    {"BlobImmutableDueToPolicy", "blob_conflict", "a policy keeps this blob as it is: use another asset id"},
    {"LeaseIdMissing", "blob_conflict", "somebody holds a lease on this blob: end it first"},
    {"InvalidBlobType", "blob_conflict", "a blob of another type lies there: use another asset id"},
    {"BlobArchived", "blob_conflict", "the blob is archived: use another asset id"},
    {"InvalidBlobOrBlock", "blob_conflict",
     "another program's unfinished blocks lie there: they go after a week, or when that blob is written; or use "
     "another "
     "asset id"},
    {"BlockCountExceedsLimit", "blob_conflict", "too many unfinished blocks lie there: they go after a week"},
    {"InvalidBlockList", "upload_blocks_lost", ""},
};

}  // namespace

std::optional<std::vector<HeldBlock>> parse_uncommitted(std::string_view xml) {
  pugi::xml_document document;
  if (xml.size() > kMaxBlockListBytes || !parse(document, xml)) return std::nullopt;
  const pugi::xml_node root = document.child("BlockList");
  if (!root || root.next_sibling()) return std::nullopt;
  std::vector<HeldBlock> blocks;
  std::set<std::string_view> names;
  for (const pugi::xml_node node : root.child("UncommittedBlocks").children("Block")) {
    const std::string_view size = node.child("Size").text().get();
    HeldBlock block{.id = node.child("Name").text().get()};
    const auto end = size.data() + size.size();
    const auto [at, error] = std::from_chars(size.data(), end, block.bytes);
    if (block.id.empty() || error != std::errc() || at != end) return std::nullopt;
    if (!names.insert(node.child("Name").text().get()).second) return std::nullopt;
    blocks.push_back(std::move(block));
  }
  return blocks;
}

std::string fault_code(const http::ClientResponse& answer) {
  std::string code(answer.headers.get("x-ms-error-code"));
  if (code.empty() && answer.body.size() <= kMaxFaultBytes) {
    pugi::xml_document document;
    if (parse(document, answer.body)) code = document.child("Error").child("Code").text().get();
  }
  return is_code(code) ? code : "";
}

Error fault_of(const http::ClientResponse& answer, std::string_view what) {
  const std::string code = fault_code(answer);
  const std::string message =
      fmt::format("the store answered {}{}{} to {}", answer.status, code.empty() ? "" : " ", code, what);
  for (const KnownFault& known : kKnown) {
    if (known.code == code) return Error(known.reason, message).with_hint(std::string(known.hint));
  }
  return {reason_of_status(answer.status), message};
}

}  // namespace tb::azure
