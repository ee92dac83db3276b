-- What a key is looked up in. The lease is part of the session: taking it and giving it back write this row only.
-- `lease_run_id` is null while nobody holds the lease; `lease_token` only ever grows.
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  session_key TEXT NOT NULL UNIQUE,
  session_id BLOB NOT NULL UNIQUE,
  agent_id TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  message_count INTEGER NOT NULL DEFAULT 0,
  prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0,
  cached_tokens INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens INTEGER NOT NULL DEFAULT 0,
  lease_token INTEGER NOT NULL DEFAULT 0,
  lease_run_id TEXT,
  lease_expires_at_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Both end in the row's id, which breaks ties.
CREATE INDEX sessions_by_update ON sessions (updated_at_ms);
CREATE INDEX sessions_by_agent ON sessions (agent_id, updated_at_ms);

-- Transcripts, each in one run of the tree. `body` is an encoded `clawdbot.session.v1.Message`; `role` is for reading
-- along with a database shell.
CREATE TABLE messages (
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  role TEXT NOT NULL,
  run_id TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

-- The turns that are committed, so that a repeated commit can be told from a new one.
CREATE TABLE turns (
  session INTEGER NOT NULL,
  run_id TEXT NOT NULL,
  lease_token INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (session, run_id)
) STRICT, WITHOUT ROWID;
