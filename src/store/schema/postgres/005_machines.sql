-- Machines that proved a TPM: an attestation key by its Name, under an endorsement key. Approval is of the endorsement
-- key, so that a machine that makes a new attestation key needs no second one.
CREATE TABLE enrolment (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  ak_name TEXT COLLATE "C" NOT NULL,
  ek_sha256 TEXT COLLATE "C" NOT NULL,
  ek_public BYTEA NOT NULL,
  ak_public BYTEA NOT NULL,
  secret_hash BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, ak_name),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);

CREATE TABLE machine (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  ak_name TEXT COLLATE "C" NOT NULL,
  ek_sha256 TEXT COLLATE "C" NOT NULL,
  ek_public BYTEA NOT NULL,
  ak_public BYTEA NOT NULL,
  enrolled_at BIGINT NOT NULL,
  seen_at BIGINT,
  reset_count BIGINT NOT NULL DEFAULT 0,
  restart_count BIGINT NOT NULL DEFAULT 0,
  clock_ms BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, contract_id, ak_name),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);

CREATE TABLE approved_ek (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  ek_sha256 TEXT COLLATE "C" NOT NULL,
  approved_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, ek_sha256),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);
