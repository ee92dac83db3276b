-- Sessions that are reset, deleted and past their time, and recorded runs.

-- Deletes some of a transcript, so that nobody waits long for it; says whether there may be more.
CREATE FUNCTION delete_some(p_session_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  c_at_once CONSTANT bigint := 1000;
  v_deleted bigint;
BEGIN
  DELETE FROM messages WHERE session = p_session_id
    AND seq < (SELECT seq FROM messages WHERE session = p_session_id ORDER BY seq LIMIT 1) + c_at_once;
  GET DIAGNOSTICS v_deleted = ROW_COUNT;
  IF v_deleted = c_at_once THEN
    RETURN true;
  END IF;
  DELETE FROM turns WHERE session = p_session_id
    AND run_id = ANY (ARRAY(SELECT run_id FROM turns WHERE session = p_session_id LIMIT c_at_once));
  GET DIAGNOSTICS v_deleted = ROW_COUNT;
  RETURN v_deleted = c_at_once;
END $$;

-- Forgets all of a session's turns and messages, some of which may be deleted later.
CREATE FUNCTION delete_transcript(p_session_id uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF delete_some(p_session_id) THEN
    INSERT INTO doomed (session) VALUES (p_session_id);
  END IF;
END $$;

-- Gives the key a new session in the old one's place, whose lease tokens go on growing. Nobody has its lease.
CREATE FUNCTION begin_anew(p_session sessions, p_new_id uuid) RETURNS sessions LANGUAGE plpgsql AS $$
DECLARE
  v_session sessions;
  v_now bigint := now_ms();
BEGIN
  PERFORM delete_transcript(p_session.session_id);
  UPDATE sessions SET session_id = p_new_id, created_at_ms = v_now, updated_at_ms = v_now, first_seq = 1, last_seq = 0,
    prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0, reasoning_tokens = 0,
    lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0
  WHERE session_id = p_session.session_id RETURNING * INTO v_session;
  RETURN v_session;
END $$;

-- Forgets what the session's finished runs came to, which is part of the transcript. It is deleted later, since there
-- may be much of it. 2 is RUN_STATE_FINISHED.
CREATE FUNCTION forget_finished_runs(p_session_key text) RETURNS void LANGUAGE sql AS $$
  UPDATE runs SET expires_at_ms = now_ms() WHERE session_key = p_session_key AND state = 2;
$$;

-- Answers with the new session, or null when the key has none, and says who is first in line.
CREATE FUNCTION reset_session(
  p_session_key text, p_new_id uuid, OUT session sessions, OUT replica uuid, OUT place bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  SELECT * INTO session FROM sessions WHERE session_key = p_session_key FOR UPDATE;
  IF FOUND THEN
    session := begin_anew(session, p_new_id);
    PERFORM forget_finished_runs(p_session_key);
    SELECT first.replica, first.place INTO replica, place FROM first_in_line(p_session_key) first;
  END IF;
END $$;

-- Says whether the key had a session, and who is first in line.
CREATE FUNCTION delete_session(p_session_key text, OUT is_found boolean, OUT replica uuid, OUT place bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_session_id uuid;
BEGIN
  DELETE FROM sessions WHERE session_key = p_session_key RETURNING session_id INTO v_session_id;
  is_found := FOUND;
  IF is_found THEN
    PERFORM delete_transcript(v_session_id);
    PERFORM forget_finished_runs(p_session_key);
    SELECT first.replica, first.place INTO replica, place FROM first_in_line(p_session_key) first;
  END IF;
END $$;

-- Deletes a little of everything that is past its time, and leaves alone what another replica deletes; says whether
-- there may be more. Sessions are deleted `p_ttl_ms` after their last turn, if that isn't null.
CREATE FUNCTION prune(p_ttl_ms bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  c_runs CONSTANT bigint := 64;
  c_sessions CONSTANT bigint := 8;
  c_waiters CONSTANT bigint := 1000;
  v_now bigint := now_ms();
  v_session_id uuid;
  v_pruned bigint;
  v_has_more boolean;
BEGIN
  SELECT session INTO v_session_id FROM doomed LIMIT 1 FOR UPDATE SKIP LOCKED;
  v_has_more := FOUND;
  IF v_has_more AND NOT delete_some(v_session_id) THEN
    DELETE FROM doomed WHERE session = v_session_id;
  END IF;

  -- As an array the rows are looked for once, whatever the planner believes, so that the limit holds.
  DELETE FROM runs WHERE run_id = ANY (ARRAY(
    SELECT run_id FROM runs WHERE expires_at_ms <= v_now ORDER BY expires_at_ms LIMIT c_runs FOR UPDATE SKIP LOCKED
  ));
  GET DIAGNOSTICS v_pruned = ROW_COUNT;
  v_has_more := v_has_more OR v_pruned = c_runs;

  -- Left behind by replicas that died, in sessions that nobody has asked for since.
  WITH expired AS MATERIALIZED (
    SELECT replica, place FROM waiters WHERE expires_at_ms <= v_now LIMIT c_waiters FOR UPDATE SKIP LOCKED
  )
  DELETE FROM waiters USING expired WHERE waiters.replica = expired.replica AND waiters.place = expired.place;

  v_pruned := 0;
  FOR v_session_id IN
    SELECT session_id FROM sessions
    WHERE updated_at_ms < v_now - p_ttl_ms AND (lease_run_id IS NULL OR lease_expires_at_ms <= v_now)
    ORDER BY updated_at_ms LIMIT c_sessions FOR UPDATE SKIP LOCKED
  LOOP
    DELETE FROM sessions WHERE session_id = v_session_id;
    PERFORM delete_transcript(v_session_id);
    v_pruned := v_pruned + 1;
  END LOOP;
  RETURN v_has_more OR v_pruned = c_sessions;
END $$;

-- Records the run if its place is free, and answers with the run that has the place then.
CREATE FUNCTION put_run(
  p_run_id text, p_session_key text, p_runner text, p_fingerprint bytea, p_state integer, p_outcome bytea,
  p_replaces_runner text, p_ttl_ms bigint
) RETURNS SETOF runs LANGUAGE plpgsql AS $$
DECLARE
  c_running CONSTANT integer := 1;
  c_failed CONSTANT integer := 3;
  v_now bigint := now_ms();
BEGIN
  INSERT INTO runs AS recorded
    (run_id, session_key, runner, fingerprint, state, outcome, created_at_ms, expires_at_ms)
  VALUES (p_run_id, p_session_key, p_runner, p_fingerprint, p_state, p_outcome, v_now, v_now + p_ttl_ms)
  ON CONFLICT (run_id) DO UPDATE SET
    session_key = excluded.session_key, runner = excluded.runner, fingerprint = excluded.fingerprint,
    state = excluded.state, outcome = excluded.outcome, expires_at_ms = excluded.expires_at_ms,
    created_at_ms = CASE WHEN recorded.expires_at_ms > v_now THEN recorded.created_at_ms ELSE v_now END
  WHERE recorded.expires_at_ms <= v_now OR recorded.state = c_failed
    OR (
      recorded.state = c_running AND recorded.fingerprint = excluded.fingerprint
      AND recorded.runner IN (excluded.runner, p_replaces_runner)
    );
  RETURN QUERY SELECT * FROM runs WHERE run_id = p_run_id;
END $$;
