#include "sentinel/audit_options.h"

namespace tb::sentinel {

AuditOptions audit_options(const Config& config) {
  return {.place = {.directory = config.audit_dir,
                    .state_dir = config.state_dir,
                    .frame = {config.contract_id, config.asset_id, config.audit_keyed},
                    .segment_bytes = config.audit_segment_bytes,
                    .retention_ms = config.audit_retention_ms},
          .hash_responses = config.audit_hash_responses,
          .checkpoint_ms = config.audit_checkpoint_ms};
}

}  // namespace tb::sentinel
