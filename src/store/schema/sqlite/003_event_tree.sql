-- The Merkle tree over the events (C2SP tlog-tiles). One row says where chain and tree end, so that appending reads no
-- old event; the leaves' hashes are those of the lines in `event`, and the rows above them are kept here.
CREATE TABLE event_tree (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  size INTEGER NOT NULL,
  last_leaf BLOB NOT NULL,
  frontier BLOB NOT NULL
) STRICT;

CREATE TABLE event_node (
  level INTEGER NOT NULL,
  node INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (level, node)
) STRICT;
CREATE TRIGGER event_node_is_never_changed BEFORE UPDATE ON event_node
  BEGIN SELECT RAISE(ABORT, 'events are append only'); END;
CREATE TRIGGER event_node_is_never_deleted BEFORE DELETE ON event_node
  BEGIN SELECT RAISE(ABORT, 'events are append only'); END;

-- The audit logs of sentinels: the newest checkpoint of each that was countersigned.
CREATE TABLE audit_log (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  origin TEXT NOT NULL,
  public_key BLOB NOT NULL,
  lease_id TEXT NOT NULL,
  size INTEGER NOT NULL,
  root BLOB NOT NULL,
  checkpoint TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, origin),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;
