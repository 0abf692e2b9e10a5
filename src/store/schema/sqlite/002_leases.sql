-- Sentinel keys, their proofs, and renewal tokens.
-- A lease belongs to the key that its first authorize proved; '' is a sentinel that proves none.
ALTER TABLE lease ADD COLUMN sentinel_key TEXT NOT NULL DEFAULT '';
-- SHA-256 of the newest renewal token and of the one before; of the request that the one before came with, and whether
-- that request was answered a second time.
ALTER TABLE lease ADD COLUMN renewal_hash BLOB;
ALTER TABLE lease ADD COLUMN previous_renewal_hash BLOB;
ALTER TABLE lease ADD COLUMN renewal_request BLOB;
ALTER TABLE lease ADD COLUMN renewal_repeated INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lease_by_end ON lease(seat_until);

CREATE TABLE used_proof (
  sentinel_key TEXT NOT NULL,
  jti TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (sentinel_key, jti)
) STRICT;
CREATE INDEX used_proof_by_end ON used_proof(expires_at);
CREATE INDEX used_jwk_by_time ON used_jwk(used_at);
CREATE INDEX nonce_by_end ON nonce(expires_at);
