-- Usage that this control plane reports to a marketplace. What a contract owes is all its usage since `from_hour`, less
-- `before_quantity`; an event is what one hour was sent with. A turn is what one node does at a time.
CREATE TABLE turn (
  name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL,
  holder TEXT COLLATE "C" NOT NULL,
  until BIGINT NOT NULL
);

CREATE TABLE billing_account (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  dimension TEXT COLLATE "C" NOT NULL,
  from_hour BIGINT NOT NULL,
  before_quantity BIGINT NOT NULL,
  PRIMARY KEY (tenant, contract_id, dimension),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);

CREATE TABLE billing_event (
  tenant TEXT COLLATE "C" NOT NULL,
  contract_id TEXT COLLATE "C" NOT NULL,
  resource TEXT COLLATE "C" NOT NULL,
  plan TEXT COLLATE "C" NOT NULL,
  dimension TEXT COLLATE "C" NOT NULL,
  hour BIGINT NOT NULL,
  quantity BIGINT NOT NULL,
  state BIGINT NOT NULL DEFAULT 0,
  fate_unknown BIGINT NOT NULL DEFAULT 0,
  detail TEXT COLLATE "C" NOT NULL DEFAULT '',
  PRIMARY KEY (tenant, contract_id, dimension, hour, resource, plan),
  FOREIGN KEY (tenant, contract_id) REFERENCES contract(tenant, contract_id)
);
CREATE INDEX billing_event_by_resource ON billing_event(lower(resource), dimension, hour);
CREATE INDEX billing_event_waiting ON billing_event(state) WHERE state = 0;
