-- What sentinels report. A record covers a range of one audit log, once; sums are kept beside them, by the hour.
CREATE TABLE usage_record (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  record_id TEXT COLLATE "C" NOT NULL,
  content_digest BYTEA NOT NULL,
  lease_id TEXT COLLATE "C" NOT NULL,
  origin TEXT COLLATE "C" NOT NULL,
  first_seq BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  hour BIGINT NOT NULL,
  received_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, record_id),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);
CREATE INDEX usage_record_by_range ON usage_record(tenant, contract_id, origin, last_seq);

CREATE TABLE usage_sum (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  dimension TEXT COLLATE "C" NOT NULL,
  hour BIGINT NOT NULL,
  asset_id TEXT COLLATE "C" NOT NULL,
  quantity BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, dimension, hour, asset_id)
);
