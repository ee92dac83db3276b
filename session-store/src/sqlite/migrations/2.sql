-- Namespaces, transcripts that lose their oldest messages, and runs that others have to find.

-- The messages that are kept are numbered from `first_seq` to `last_seq`.
ALTER TABLE sessions RENAME COLUMN message_count TO last_seq;
ALTER TABLE sessions ADD COLUMN first_seq INTEGER NOT NULL DEFAULT 1;

-- What the session's key begins with; empty for the main namespace, whose sessions the index leaves out.
ALTER TABLE sessions ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_by_namespace ON sessions (namespace, updated_at_ms) WHERE namespace <> '';

-- Where the run is that holds the lease; empty when not known.
ALTER TABLE sessions ADD COLUMN lease_runner TEXT NOT NULL DEFAULT '';

-- Former ids of sessions whose messages are not all deleted yet. No session may get one of them.
CREATE TABLE doomed (session INTEGER PRIMARY KEY) STRICT;

-- `state` is a `clawdbot.session.v1.RunState`.
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  run_id TEXT NOT NULL UNIQUE,
  session_key TEXT NOT NULL,
  runner TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  state INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  outcome BLOB NOT NULL
) STRICT;

CREATE INDEX runs_by_expiry ON runs (expires_at_ms);
CREATE INDEX runs_by_session ON runs (session_key);
