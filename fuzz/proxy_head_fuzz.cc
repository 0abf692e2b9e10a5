// Heads of requests and responses: what is accepted leaves no second reading of where the message ends.
#include "fuzz.h"
#include "sentinel/proxy/head.h"

namespace {

using namespace tb::sentinel::proxy;

std::size_t count(const Fields& fields, std::string_view name) {
  std::size_t found = 0;
  for (const auto& field : fields) found += equal_fold(field.name, name) ? 1 : 0;
  return found;
}

void check_fields(const Fields& fields) {
  FUZZ_CHECK(fields.size() <= kMaxFields);
  for (const auto& field : fields) {
    FUZZ_CHECK(!field.name.empty());
    for (const std::string_view text : {std::string_view(field.name), std::string_view(field.value)}) {
      FUZZ_CHECK(text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    }
  }
  FUZZ_CHECK(count(fields, "content-length") == 0 || count(fields, "transfer-encoding") == 0);
  FUZZ_CHECK(count(fields, "content-length") <= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto input = std::string_view(reinterpret_cast<const char*>(data), bytes);
  const auto end = find_head_end(input);
  if (end.kind != HeadEnd::kFound) return 0;
  FUZZ_CHECK(end.bytes <= bytes && end.bytes <= kMaxHeadBytes);
  const auto head = input.substr(0, end.bytes);
  // More bytes behind it do not move a head's end.
  FUZZ_CHECK(find_head_end(head).kind == HeadEnd::kFound && find_head_end(head).bytes == end.bytes);

  if (const auto request = parse_request_head(head)) {
    check_fields(request->fields);
    FUZZ_CHECK(!request->method.empty() && !request->target.empty());
    FUZZ_CHECK(request->framing != Framing::kUntilClose);
    FUZZ_CHECK(count(request->fields, "host") <= 1);
  } else {
    FUZZ_CHECK(request.error().status >= 400);
  }
  for (const std::string_view method : {"GET", "HEAD"}) {
    if (const auto response = parse_response_head(head, method)) {
      check_fields(response->fields);
      FUZZ_CHECK(response->status >= 100 && response->status <= 999);
      FUZZ_CHECK(method != "HEAD" || response->framing == Framing::kNone);
    }
  }
  return 0;
}
