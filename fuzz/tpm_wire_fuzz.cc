// TPM structures: the first byte chooses one; what is accepted encodes to the same bytes again.
#include "attest/crypto_keys.h"
#include "attest/tpm_wire.h"
#include "fuzz.h"

namespace {

template <typename T>
void check(const tb::Result<T>& read, tb::ByteView bytes) {
  if (!read) return;
  const tb::Bytes again = tb::attest::encode(*read);
  FUZZ_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::attest;
  if (bytes == 0) return 0;
  const tb::ByteView rest{data + 1, bytes - 1};
  if (*data % 3 == 0) {
    const auto quote = parse_quote(rest);
    if (quote && quote->magic == kQuoteMagic && quote->type == kQuoteType) check(quote, rest);
  } else if (*data % 3 == 1) {
    const auto key = parse_public(rest);
    check(key, rest);
    if (key) static_cast<void>(spki_of(*key));
  } else {
    check(parse_signature(rest), rest);
  }
  return 0;
}
