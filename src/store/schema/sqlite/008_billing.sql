-- Usage that this control plane reports to a marketplace. What a contract owes is all its usage since `from_hour`, less
-- `before_quantity`; an event is what one hour was sent with. A turn is what one node does at a time.
CREATE TABLE turn (
  name TEXT NOT NULL PRIMARY KEY,
  number INTEGER NOT NULL,
  holder TEXT NOT NULL,
  until INTEGER NOT NULL
) STRICT;

CREATE TABLE billing_account (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  dimension TEXT NOT NULL,
  from_hour INTEGER NOT NULL,
  before_quantity INTEGER NOT NULL,
  PRIMARY KEY (tenant, contract_id, dimension),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;

CREATE TABLE billing_event (
  tenant TEXT NOT NULL,
  contract_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  plan TEXT NOT NULL,
  dimension TEXT NOT NULL,
  hour INTEGER NOT NULL,
  quantity INTEGER NOT NULL,
  state INTEGER NOT NULL DEFAULT 0,
  fate_unknown INTEGER NOT NULL DEFAULT 0,
  detail TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (tenant, contract_id, dimension, hour, resource, plan),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
) STRICT;
CREATE INDEX billing_event_by_resource ON billing_event(lower(resource), dimension, hour);
CREATE INDEX billing_event_waiting ON billing_event(state) WHERE state = 0;
