-- What a sentinel's key holds already is asked at each of its first authorizes, whatever the number of seats.
CREATE INDEX lease_by_key ON lease(tenant, contract_id, sentinel_key) WHERE state = 'active';
