-- The tables, in a schema of their own. Times are milliseconds since 1970 by the database's clock.

-- What a key is looked up in. The lease is part of the session: taking it and giving it back write this row only, whose
-- lock is what all calls for a session pass one by one. `lease_run_id` is null while nobody holds the lease;
-- `lease_token` only ever grows. The messages that are kept are numbered from `first_seq` to `last_seq`.
CREATE TABLE sessions (
  session_id uuid PRIMARY KEY,
  session_key text COLLATE "C" NOT NULL UNIQUE,
  namespace text COLLATE "C" NOT NULL,
  agent_id text COLLATE "C" NOT NULL,
  created_at_ms bigint NOT NULL,
  updated_at_ms bigint NOT NULL,
  first_seq bigint NOT NULL DEFAULT 1,
  last_seq bigint NOT NULL DEFAULT 0,
  prompt_tokens bigint NOT NULL DEFAULT 0,
  completion_tokens bigint NOT NULL DEFAULT 0,
  cached_tokens bigint NOT NULL DEFAULT 0,
  reasoning_tokens bigint NOT NULL DEFAULT 0,
  lease_token bigint NOT NULL DEFAULT 0,
  lease_run_id text COLLATE "C",
  lease_runner text NOT NULL DEFAULT '',
  lease_expires_at_ms bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50); -- Room on the page lets a lease be taken without a write to any index.

-- The id breaks ties: ids sort by the time at which they were made. The main namespace is left out of its index.
CREATE INDEX sessions_by_update ON sessions (updated_at_ms, session_id);
CREATE INDEX sessions_by_agent ON sessions (agent_id, updated_at_ms, session_id);
CREATE INDEX sessions_by_namespace ON sessions (namespace, updated_at_ms, session_id) WHERE namespace <> '';

-- Transcripts. `body` is an encoded `clawdbot.session.v1.Message`; `role` is for reading along with psql.
CREATE TABLE messages (
  session uuid NOT NULL,
  seq bigint NOT NULL,
  role text NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  created_at_ms bigint NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (session, seq)
);

-- The turns that are committed, so that a repeated commit can be told from a new one.
CREATE TABLE turns (
  session uuid NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  lease_token bigint NOT NULL,
  last_seq bigint NOT NULL,
  PRIMARY KEY (session, run_id)
);

-- Former ids of sessions whose messages are not all deleted yet.
CREATE TABLE doomed (session uuid PRIMARY KEY);

-- `state` is a `clawdbot.session.v1.RunState`.
CREATE TABLE runs (
  run_id text COLLATE "C" PRIMARY KEY,
  session_key text NOT NULL,
  runner text NOT NULL,
  fingerprint bytea NOT NULL,
  state integer NOT NULL,
  created_at_ms bigint NOT NULL,
  expires_at_ms bigint NOT NULL,
  outcome bytea NOT NULL
);

CREATE INDEX runs_by_expiry ON runs (expires_at_ms);
CREATE INDEX runs_by_session ON runs (session_key);

-- Who waits for a session's lease, in the order of the tickets. A row is live until it expires, which its replica puts
-- off. A crash of the server empties the table; the replicas fill it again, in the same order. What breaks a tie is of
-- no account: only such a crash can give a ticket twice.
CREATE UNLOGGED TABLE waiters (
  session_key text COLLATE "C" NOT NULL,
  ticket bigint NOT NULL,
  replica uuid NOT NULL,
  place bigint NOT NULL,
  expires_at_ms bigint NOT NULL,
  PRIMARY KEY (replica, place)
);

CREATE INDEX waiters_by_ticket ON waiters (session_key, ticket, replica, place);
CREATE SEQUENCE tickets;

CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE
AS $$ SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint $$;
