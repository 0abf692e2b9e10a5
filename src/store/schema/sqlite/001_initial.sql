-- Times are milliseconds since 1970. A row of a tenant carries the tenant in its key: nothing is found without it.
CREATE TABLE tenant (
  tenant TEXT PRIMARY KEY,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE token (
  token_id TEXT PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  role TEXT NOT NULL,
  tenant TEXT REFERENCES tenant(tenant),
  created_at INTEGER NOT NULL,
  expires_at INTEGER
) STRICT;

CREATE TABLE own_key (
  name TEXT PRIMARY KEY,
  kek_id TEXT NOT NULL,
  wrapped BLOB NOT NULL,
  public_part BLOB NOT NULL
) STRICT;

-- A deleted asset keeps its row without a key: its id never returns with other bytes.
CREATE TABLE asset (
  tenant TEXT NOT NULL REFERENCES tenant(tenant),
  asset_id TEXT NOT NULL,
  content_digest TEXT NOT NULL,
  sha256_ciphertext TEXT NOT NULL,
  metadata TEXT NOT NULL,
  ciphertext_url TEXT NOT NULL,
  manifest_url TEXT NOT NULL,
  manifest_sha256 TEXT,
  kek_id TEXT,
  wrapped BLOB,
  registered_at INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, asset_id)
) STRICT;

CREATE TABLE contract (
  tenant TEXT NOT NULL REFERENCES tenant(tenant),
  contract_id TEXT NOT NULL,
  terms TEXT NOT NULL,
  not_after INTEGER NOT NULL,
  state TEXT NOT NULL,
  policy_version INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  activation_hash BLOB,
  activation_expires_at INTEGER,
  pinned_hw_id TEXT,
  pin_approved INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, contract_id)
) STRICT;
CREATE INDEX contract_by_id ON contract(contract_id);

CREATE TABLE contract_asset (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  asset_id TEXT NOT NULL,
  PRIMARY KEY (tenant, contract_id, asset_id),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id),
  FOREIGN KEY (tenant, asset_id) REFERENCES asset(tenant, asset_id)
) STRICT;
CREATE INDEX contract_asset_by_asset ON contract_asset(tenant, asset_id);

CREATE TABLE lease (
  lease_id TEXT PRIMARY KEY,
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  asset_id TEXT NOT NULL,
  hw_id TEXT NOT NULL,
  client_version TEXT NOT NULL,
  state TEXT NOT NULL,
  generation INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  renewed_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  seat_until INTEGER NOT NULL,
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;
CREATE INDEX lease_by_contract ON lease(tenant, contract_id, state, seat_until);

CREATE TABLE used_jwk (
  thumbprint TEXT PRIMARY KEY,
  used_at INTEGER NOT NULL
) STRICT;

CREATE TABLE nonce (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  hash BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, hash)
) STRICT;

-- Append only: each line carries the hash of the line before.
CREATE TABLE event (
  seq INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL,
  line TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_tenant ON event(tenant, seq);
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are append only'); END;
CREATE TRIGGER event_is_never_deleted BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are append only'); END;
