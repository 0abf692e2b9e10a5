-- Machines that proved a TPM: an attestation key by its Name, under an endorsement key. Approval is of the endorsement
-- key, so that a machine that makes a new attestation key needs no second one.
CREATE TABLE enrolment (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  ak_name TEXT NOT NULL,
  ek_sha256 TEXT NOT NULL,
  ek_public BLOB NOT NULL,
  ak_public BLOB NOT NULL,
  secret_hash BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, ak_name),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;

CREATE TABLE machine (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  ak_name TEXT NOT NULL,
  ek_sha256 TEXT NOT NULL,
  ek_public BLOB NOT NULL,
  ak_public BLOB NOT NULL,
  enrolled_at INTEGER NOT NULL,
  seen_at INTEGER,
  reset_count INTEGER NOT NULL DEFAULT 0,
  restart_count INTEGER NOT NULL DEFAULT 0,
  clock_ms INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, contract_id, ak_name),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;

CREATE TABLE approved_ek (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  ek_sha256 TEXT NOT NULL,
  approved_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, ek_sha256),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;
