-- The same tables as on SQLite; text is compared byte by byte, as there. Functions are made with OR REPLACE: a restore
-- drops the tables and takes the steps again.
-- Times are milliseconds since 1970. A row of a tenant carries the tenant in its key: nothing is found without it.
CREATE TABLE tenant (
  tenant TEXT COLLATE "C" PRIMARY KEY,
  created_at BIGINT NOT NULL
);

CREATE TABLE token (
  token_id TEXT COLLATE "C" PRIMARY KEY,
  hash BYTEA NOT NULL UNIQUE,
  role TEXT COLLATE "C" NOT NULL,
  tenant TEXT COLLATE "C" REFERENCES tenant(tenant),
  created_at BIGINT NOT NULL,
  expires_at BIGINT
);

CREATE TABLE own_key (
  name TEXT COLLATE "C" PRIMARY KEY,
  kek_id TEXT COLLATE "C" NOT NULL,
  wrapped BYTEA NOT NULL,
  public_part BYTEA NOT NULL
);

-- A deleted asset keeps its row without a key: its id never returns with other bytes.
CREATE TABLE asset (
  tenant TEXT COLLATE "C" NOT NULL REFERENCES tenant(tenant),
  asset_id TEXT COLLATE "C" NOT NULL,
  content_digest TEXT COLLATE "C" NOT NULL,
  sha256_ciphertext TEXT COLLATE "C" NOT NULL,
  metadata TEXT COLLATE "C" NOT NULL,
  ciphertext_url TEXT COLLATE "C" NOT NULL,
  manifest_url TEXT COLLATE "C" NOT NULL,
  manifest_sha256 TEXT COLLATE "C",
  kek_id TEXT COLLATE "C",
  wrapped BYTEA,
  registered_at BIGINT NOT NULL,
  deleted BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, asset_id)
);

CREATE TABLE contract (
  tenant TEXT COLLATE "C" NOT NULL REFERENCES tenant(tenant),
  contract_id TEXT COLLATE "C" NOT NULL,
  terms TEXT COLLATE "C" NOT NULL,
  not_after BIGINT NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  policy_version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  activation_hash BYTEA,
  activation_expires_at BIGINT,
  pinned_hw_id TEXT COLLATE "C",
  pin_approved BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, contract_id)
);
CREATE INDEX contract_by_id ON contract(contract_id);

CREATE TABLE contract_asset (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  asset_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (tenant, contract_id, asset_id),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id),
  FOREIGN KEY (tenant, asset_id) REFERENCES asset(tenant, asset_id)
);
CREATE INDEX contract_asset_by_asset ON contract_asset(tenant, asset_id);

CREATE TABLE lease (
  lease_id TEXT COLLATE "C" PRIMARY KEY,
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  asset_id TEXT COLLATE "C" NOT NULL,
  hw_id TEXT COLLATE "C" NOT NULL,
  client_version TEXT COLLATE "C" NOT NULL,
  state TEXT COLLATE "C" NOT NULL,
  generation BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  renewed_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  seat_until BIGINT NOT NULL,
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);
CREATE INDEX lease_by_contract ON lease(tenant, contract_id, state, seat_until);

CREATE TABLE used_jwk (
  thumbprint TEXT COLLATE "C" PRIMARY KEY,
  used_at BIGINT NOT NULL
);

CREATE TABLE nonce (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  hash BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, hash)
);

-- Append only: each line carries the hash of the line before.
CREATE TABLE event (
  seq BIGINT PRIMARY KEY,
  tenant TEXT COLLATE "C" NOT NULL,
  line TEXT COLLATE "C" NOT NULL
);
CREATE INDEX event_by_tenant ON event(tenant, seq);
CREATE OR REPLACE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'events are append only'; END $$;
CREATE TRIGGER event_is_never_changed BEFORE UPDATE OR DELETE ON event
  FOR EACH ROW EXECUTE FUNCTION event_is_append_only();
CREATE TRIGGER event_is_never_emptied BEFORE TRUNCATE ON event
  FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only();
