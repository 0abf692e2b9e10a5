// Where a tenant's blobs lie: two tenants never have one place, and a URL made of it stays below its container.
#include "azure/tenant_stores.h"
#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using namespace tb::azure;
  const auto spec = tb::as_text({data, bytes});
  const auto own = parse_place(spec, false);
  const auto any = parse_place(spec, true);
  FUZZ_CHECK(!own || !any);
  if (own) {
    const std::string url = blob_url(kEndpoint, *own, "m", "model.tbenc");
    FUZZ_CHECK(url.starts_with("https://" + own->account + ".blob.core.windows.net/" + own->container + "/"));
    FUZZ_CHECK(url.find("/../") == std::string::npos && url.find_first_of("?#%@\\ {}") == std::string::npos);
  }
  if (any) {
    StoreSettings settings;
    settings.any_tenant = *any;
    const TenantStores stores(settings);
    const std::string one = stores.url({.tenant = "ab", .asset_id = "m", .name = "n"});
    const std::string two = stores.url({.tenant = "abc", .asset_id = "m", .name = "n"});
    FUZZ_CHECK(one != two || one.empty());
    FUZZ_CHECK(one.empty() || stores.covers(one));
  }
  return 0;
}
