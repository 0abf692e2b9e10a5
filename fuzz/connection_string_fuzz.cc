// A connection string, a SAS: what is taken leads to https or to this machine, and what is refused shows none of its values.
#include "azure/connection_string.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const auto text = tb::as_text({data, bytes});
  if (const auto parsed = tb::azure::parse_connection_string(text)) {
    FUZZ_CHECK(tb::azure::is_service_url(parsed->service_url));
    FUZZ_CHECK(parsed->service_url.starts_with("https://") || parsed->service_url.starts_with("http://127.") ||
               parsed->service_url.starts_with("http://localhost") || parsed->service_url.starts_with("http://["));
    FUZZ_CHECK(parsed->account.empty() || tb::azure::is_account_name(parsed->account));
    FUZZ_CHECK(parsed->key || parsed->sas);
    FUZZ_CHECK(!parsed->key || (!parsed->key->empty() && !parsed->account.empty()));
  } else {
    FUZZ_CHECK(parsed.error().message.size() < 120);
  }
  if (const auto sas = tb::azure::parse_sas(text)) {
    const std::string& query = sas->reveal();
    FUZZ_CHECK(query.find_first_of("?# \r\n") == std::string::npos);
    tb::azure::sas_end(query);
  }
  return 0;
}
