// The login file of docker and podman, and a credential helper's answer: a helper's name is never a path.
#include "fuzz.h"
#include "oci/auth_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  const tb::SecretString text{std::string(tb::as_text({data, bytes}))};
  if (const auto answer = tb::oci::parse_helper_answer(text)) FUZZ_CHECK(!answer->password.empty());
  const auto file = tb::oci::AuthFile::parse(text);
  if (!file) return 0;
  for (const char* registry : {"r.example", "docker.io", "127.0.0.1:5000"}) {
    FUZZ_CHECK(file->helper(registry).find('/') == std::string::npos);
    if (const auto login = file->login(registry, "team/name"))
      FUZZ_CHECK(login->is_identity_token || !login->user.empty());
  }
  return 0;
}
