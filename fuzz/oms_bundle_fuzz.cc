// A bundle or a statement that is accepted is written and read the same again; and a bundle proves nothing to somebody
// whose key did not sign it.
#include "fuzz.h"
#include "oms/signature.h"

namespace {

using namespace tb::oms;

bool is_parsers_reason(const tb::Error& error) {
  return error.reason == "oms_bundle_malformed" || error.reason == "oms_unsupported";
}

void check_statement(std::string_view text) {
  try {
    const Statement statement = Statement::parse(text);
    FUZZ_CHECK(Statement::parse(statement.text()) == statement);
    for (const Resource& resource : statement.resources) FUZZ_CHECK(!file_of(statement, resource).empty());
  } catch (const tb::Error& error) {
    FUZZ_CHECK(is_parsers_reason(error));
  }
}

void check_untrusted(const Bundle& bundle) {
  static const Trust stranger{.key = SigningKey::generate().public_key(), .anchors = {}, .now = 1'767'225'600'000};
  try {
    verify(bundle, stranger);
    FUZZ_CHECK(false);
  } catch (const tb::Error& error) {
    // A fuzzer finds out which hint the key has; that still proves nothing.
    FUZZ_CHECK(error.reason == "oms_key_mismatch" || error.reason == "oms_signature_mismatch");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const std::string_view text = tb::as_text({data, bytes});
  check_statement(text);
  try {
    const Bundle bundle = Bundle::parse(text);
    FUZZ_CHECK(Bundle::parse(bundle.text()) == bundle);
    check_untrusted(bundle);
    check_statement(bundle.payload);
  } catch (const tb::Error& error) {
    FUZZ_CHECK(is_parsers_reason(error));
  }
  return 0;
}
