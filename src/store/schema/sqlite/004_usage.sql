-- What sentinels report. A record covers a range of one audit log, once; sums are kept beside them, by the hour.
CREATE TABLE usage_record (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  record_id TEXT NOT NULL,
  content_digest BLOB NOT NULL,
  lease_id TEXT NOT NULL,
  origin TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  hour INTEGER NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, record_id),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;
CREATE INDEX usage_record_by_range ON usage_record(tenant, contract_id, origin, last_seq);

CREATE TABLE usage_sum (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  dimension TEXT NOT NULL,
  hour INTEGER NOT NULL,
  asset_id TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, dimension, hour, asset_id)
) STRICT;
