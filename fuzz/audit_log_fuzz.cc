// A log's files as whoever had them in hands left them: the open part with any end, any cut, any checkpoint. The reader
// at the start either continues the log or begins a new origin; it never crashes, never drops more than one commit, and
// what it leaves is a chain that reads again.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "fuzz.h"
#include "sentinel/audit_files.h"

namespace {

using namespace tb;
using namespace tb::sentinel;

struct Folder {
  std::string path = "/dev/shm/tb-audit-fuzz-XXXXXX";
  Folder() {
    if (mkdtemp(path.data()) == nullptr) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

const std::string& folder() {
  static const Folder folder;
  return folder.path;
}

void put(const std::string& name, std::string_view text) {
  const Fd file(::open((folder() + "/" + name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  FUZZ_CHECK(write_full(file.get(), as_bytes(text), name));
}

std::string log_of(int records) {
  tlog::ChainHead head;
  std::string text;
  for (int i = 0; i < records; ++i) {
    const std::size_t from = text.size();
    text += R"({"ts":"2026-11-26T00:00:00.000Z","n":)" + std::to_string(i);
    tlog::close_record(head, text, from);
    text += '\n';
  }
  return text;
}

/// The last record's number and one: the chain from the open part's own beginning.
std::uint64_t check_open_part(std::uint64_t records) {
  tlog::LineReader lines(folder() + "/audit/audit.jsonl");
  std::string line;
  std::optional<tlog::ChainHead> head;
  while (lines.next(line)) {
    if (!head) {
      const auto json = Json::parse(line);
      FUZZ_CHECK(json && json->find("seq") != nullptr && json->find("prev") != nullptr);
      head.emplace();
      head->records = static_cast<std::uint64_t>(json->find("seq")->as_integer());
      const auto prev = from_hex(json->find("prev")->as_string());
      FUZZ_CHECK(prev && prev->size() == head->prev.size());
      std::ranges::copy(*prev, head->prev.begin());
    }
    tlog::verify_record(*head, line);
  }
  FUZZ_CHECK(!lines.has_partial());
  return head ? head->records : records;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes == 0) return 0;
  const std::uint8_t kind = data[0];
  const std::string_view text = as_text({data + 1, bytes - 1});
  std::filesystem::remove_all(folder() + "/audit");
  std::filesystem::create_directory(folder() + "/audit");
  static const std::string seed(43, 'A');  // base64url of 32 zero bytes: the same key for every input
  put("audit-signing-key", seed + "\n");
  const std::string whole = log_of(3);
  switch (kind % 5) {
    case 0:  // any file
      put("audit/audit.jsonl", text);
      break;
    case 1:  // a whole log with any end
      put("audit/audit.jsonl", whole + std::string(text));
      break;
    case 2:  // any cut before the open part
      put("audit/audit-0000000000000003.cut", text);
      put("audit/audit.jsonl", "");
      break;
    case 3:  // any checkpoints
      put("audit/audit.jsonl", whole);
      put("audit/audit.jsonl.checkpoint", text);
      break;
    default:
      put("audit/audit.jsonl", whole);
      put("audit/audit.jsonl.checkpoint-countersigned", text);
      break;
  }
  AuditPlace place{.directory = folder() + "/audit", .state_dir = folder(), .frame = {"c", "a", true}};
  std::uint64_t records = 0;
  {
    AuditFiles files(place, {});
    records = files.records();
    if (kind % 5 == 1) FUZZ_CHECK(records >= 3);
    AuditBatch batch = files.begin();
    batch.add(R"({"n":"new")");
    FUZZ_CHECK(files.commit(batch));
    FUZZ_CHECK(check_open_part(0) == records + 1);
  }
  const AuditFiles again(place, {});
  FUZZ_CHECK(again.records() == records + 1);
  return 0;
}
