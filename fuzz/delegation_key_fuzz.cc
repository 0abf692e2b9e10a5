// The answer to Get User Delegation Key: what is taken is whole, and goes into a signature's fields as it is, so none
// of it may hold what separates fields.
#include <algorithm>

#include "azure/delegation_key.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto text = tb::as_text({data, bytes});
  tb::azure::parse_token_answer(text);
  const auto key = tb::azure::parse_delegation_key(text);
  if (!key) return 0;
  for (const auto* field : {&key->oid, &key->tid, &key->start, &key->expiry, &key->service, &key->version}) {
    FUZZ_CHECK(!field->empty() && field->find_first_of("\n\r ") == std::string::npos);
  }
  FUZZ_CHECK(key->value.reveal().size() >= 32);
  const std::string to_sign =
      tb::azure::delegation_string_to_sign({.account = "acct", .container = "models", .blob = "m"}, {}, *key);
  FUZZ_CHECK(std::ranges::count(to_sign, '\n') == 23);
  return 0;
}
