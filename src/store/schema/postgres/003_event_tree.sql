-- The Merkle tree over the events (C2SP tlog-tiles). One row says where chain and tree end, so that appending reads no
-- old event; the leaves' hashes are those of the lines in `event`, and the rows above them are kept here.
CREATE TABLE event_tree (
  id BIGINT PRIMARY KEY CHECK (id = 1),
  size BIGINT NOT NULL,
  last_leaf BYTEA NOT NULL,
  frontier BYTEA NOT NULL
);

CREATE TABLE event_node (
  level BIGINT NOT NULL,
  node BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  PRIMARY KEY (level, node)
);
CREATE TRIGGER event_node_is_never_changed BEFORE UPDATE OR DELETE ON event_node
  FOR EACH ROW EXECUTE FUNCTION event_is_append_only();
CREATE TRIGGER event_node_is_never_emptied BEFORE TRUNCATE ON event_node
  FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only();

-- The audit logs of sentinels: the newest checkpoint of each that was countersigned.
CREATE TABLE audit_log (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  origin TEXT COLLATE "C" NOT NULL,
  public_key BYTEA NOT NULL,
  lease_id TEXT COLLATE "C" NOT NULL,
  size BIGINT NOT NULL,
  root BYTEA NOT NULL,
  checkpoint TEXT COLLATE "C" NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, origin),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);
