-- What an event is about stands beside its line, so that one contract's events are read without reading all others. The
-- line stays what is hashed; this column only finds it.
ALTER TABLE event ADD COLUMN subject TEXT NOT NULL DEFAULT '';
DROP TRIGGER event_is_never_changed;
UPDATE event SET subject = coalesce(json_extract(line, '$.subject'), '');
CREATE TRIGGER event_is_never_changed BEFORE UPDATE ON event BEGIN SELECT RAISE(ABORT, 'events are append only'); END;
CREATE INDEX event_by_subject ON event(tenant, subject, seq);
