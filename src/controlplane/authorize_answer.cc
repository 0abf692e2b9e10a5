#include "controlplane/authorize_answer.h"

#include <algorithm>

#include "api/grant.h"
#include "controlplane/url_signature.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"

namespace tb::controlplane {
namespace {

SecretUrl url_of(const AuthorizeCase& c, std::string_view name, const std::string& stored, const std::string& digest,
                 const std::string& lease_id, const Grant& grant, Deps& deps) {
  if (!stored.starts_with("store:")) {
    // Signed is the path made of tenant, asset and name, and only where that is what was registered.
    const blob::StoredObject object{
        .tenant = c.row.contract.tenant, .asset_id = c.request.asset_id, .name = std::string(name)};
    const bool ours = deps.signing_store != nullptr && deps.signing_store->url(object) == stored;
    return ours ? deps.signing_store->sign_read(object, grant.urls_expire_at) : SecretUrl(stored);
  }
  const BlobClaim claim{.tenant = c.row.contract.tenant,
                        .asset_id = c.request.asset_id,
                        .name = std::string(name),
                        .object_digest = digest,
                        .lease_id = lease_id,
                        .expires_at_seconds = grant.urls_expire_at / 1000};
  const std::string base = deps.public_url.get();
  if (base.empty()) throw Error("server_busy", "the service is still starting");
  return SecretUrl(base + signed_path(deps.keyring.url_key(), deps.keyring.url_kid(), claim));
}

api::ReleasePolicy policy_of(const api::ContractTerms& terms) {
  return {.allow_finetune = terms.allow_finetune,
          .quotas = terms.quotas,
          .metering = terms.metering,
          .allowed_paths = terms.allowed_paths,
          .runtime_isolation = terms.runtime_isolation,
          .enforcement = {.grade = api::grade_from(terms.enforcement),
                          .notice = terms.notice,
                          .requests_per_minute = terms.throttle_requests_per_minute},
          .max_seats = terms.max_seats,
          .marketplace_by_control_plane = !terms.marketplace.as_object().empty()};
}

/// The signed word on an answer that is whole but for it.
std::string grant_of(const AuthorizeCase& c, const api::AuthorizeAnswer& answer, Deps& deps) {
  api::LeaseGrant grant;
  grant.contract_id = c.row.contract.contract_id;
  grant.asset_id = c.request.asset_id;
  grant.lease_id = *answer.lease_id;
  grant.policy = policy_of(c.row.contract.terms);
  grant.policy_version = c.row.contract.policy_version;
  grant.manifest_sha256 = answer.manifest_sha256.value_or("");
  for (const auto& url : {std::cref(answer.sas_url), std::cref(answer.manifest_url)}) {
    std::string origin = api::origin_of(url.get().printable());
    if (std::ranges::find(grant.url_origins, origin) == grant.url_origins.end()) {
      grant.url_origins.push_back(std::move(origin));
    }
  }
  if (c.one_time_key) grant.key_thumbprint = c.one_time_key->thumbprint();
  grant.nonce = c.request.nonce.value_or("");
  grant.proof_jti = c.proof.jti;
  grant.issued_at = *answer.issued_at;
  grant.expires_at = *answer.lease_expires_at;
  grant.offline_grace_seconds = answer.offline_grace_seconds;
  return jose::sign(deps.keyring.identity(), api::kGrantType, grant.to_json().dump());
}

}  // namespace

SignedUrls signed_urls(const AuthorizeCase& c, const Grant& grant, const std::string& lease_id, Deps& deps) {
  const auto& [ciphertext, manifest] = c.asset->view.blob_urls;
  const std::string& digest = c.asset->view.metadata.sha256_ciphertext;
  return {.ciphertext = url_of(c, kCiphertextName, ciphertext, digest, lease_id, grant, deps),
          .manifest = url_of(c, kManifestName, manifest, digest, lease_id, grant, deps)};
}

api::AuthorizeAnswer authorize_answer(const AuthorizeCase& c, const Grant& grant, const std::string& lease_id,
                                      FileKey key, SignedUrls urls, Deps& deps) {
  const auto& contract = c.row.contract;
  const auto& view = c.asset->view;
  api::AuthorizeAnswer answer;
  answer.sas_url = std::move(urls.ciphertext);
  answer.manifest_url = std::move(urls.manifest);
  answer.expires_at = grant.urls_expire_at;
  answer.lease_id = lease_id;
  answer.lease_expires_at = grant.lease_expires_at;
  answer.renew_after_seconds = grant.renew_after_seconds;
  answer.offline_grace_seconds = contract.terms.offline_grace_seconds;
  answer.manifest_sha256 = view.manifest_sha256;
  answer.metadata = view.metadata;
  answer.issued_at = c.facts.now;
  answer.policy_version = contract.policy_version;
  answer.policy = policy_of(contract.terms);
  if (grant.key == KeyForm::kPlain) {
    answer.key = std::move(key);
  } else if (grant.key == KeyForm::kWrapped) {
    answer.wrapped_key = jose::seal_key(*c.one_time_key,
                                        {{"contract_id", contract.contract_id},
                                         {"asset_id", c.request.asset_id},
                                         {"lease_id", lease_id},
                                         {"policy_version", contract.policy_version}},
                                        key);
  }
  answer.grant = grant_of(c, answer, deps);
  return answer;
}

}  // namespace tb::controlplane
