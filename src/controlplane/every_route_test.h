// One request that each route would accept, in a small world of two tenants: what tests that walk every route start
// from.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/usage.h"
#include "controlplane/service_test.h"
#include "tlog/proof.h"

namespace tb::controlplane {

/// Tenant t1 has the asset "m", the contract "c1" with the active lease `lease_id_`, and a hardware pin of "c2".
class EveryRouteTest : public ServiceTest {
 protected:
  struct Sample {
    std::string method;
    std::string pattern;
    std::string target;  ///< of t1
    std::string body;    ///< one that would be accepted, or ""
  };

  void SetUp() override;
  /// One for every route of the program; a route without one fails the test.
  std::vector<Sample> samples();
  api::UsageReport usage_report() const;
  std::string audit_checkpoint() const;
  const http::Route& route_of(const Sample& sample);
  http::Response send(const Sample& sample, const std::string& token, const std::string& body) {
    return call({.method = sample.method, .target = sample.target, .token = token, .body = body});
  }
  /// The credential that the route wants, of t1.
  std::string credential_for(const http::Route& route);
  /// All that t1 can see, and the log of changes, denials left out.
  std::string state();

  std::string activation_token_;
  std::string lease_id_;
};

}  // namespace tb::controlplane
