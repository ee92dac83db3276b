-- Turns: begun, renewed, committed and abandoned, each in one call.

-- Takes the session's lease and reads the window, if the lease is the run's own, or free and nobody is before it in
-- line. Else joins the line if there is a place to stand in it: a place that comes back has a ticket.
--
-- `outcome` is `granted`, `busy`, `full` (so is the line) or `committed` (so is the run's turn).
--
-- Its own commit does not wait for the disk, so a crash of the server may forget that the lease was taken, but not what
-- was committed under it: a commit waits, and with it everything before it is on disk. If the lease was forgotten, the
-- run's commit is refused, since no lease that follows can have its token: tokens are never less than the clock's
-- microseconds.
CREATE FUNCTION begin_turn(
  p_session_key text, p_namespace text, p_agent_id text, p_run_id text, p_runner text, p_lease_ms bigint,
  p_window bigint, p_window_bytes bigint, p_idle_ms bigint, p_daily_ms bigint, p_new_id uuid,
  p_replica uuid, p_place bigint, p_ticket bigint, p_longest_line bigint, p_place_ms bigint,
  OUT outcome text, OUT session_id uuid, OUT token bigint, OUT message_count bigint, OUT newest bytea[],
  OUT held_ms bigint, OUT ticket bigint, OUT is_first boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  c_day_ms CONSTANT bigint := 86400000;
  v_session sessions;
  v_first record;
  v_is_own boolean;
  v_now bigint;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  LOOP
    SELECT * INTO v_session FROM sessions WHERE session_key = p_session_key FOR UPDATE;
    v_now := now_ms();
    IF v_session.last_seq > 0 AND EXISTS (
      SELECT FROM turns WHERE session = v_session.session_id AND run_id = p_run_id
    ) THEN
      outcome := 'committed';
      RETURN;
    END IF;

    v_is_own := coalesce(v_session.lease_run_id = p_run_id, false);
    held_ms := CASE
      WHEN v_is_own OR v_session.lease_run_id IS NULL THEN 0
      ELSE greatest(v_session.lease_expires_at_ms - v_now, 0)
    END;
    v_first := first_in_line(p_session_key);
    is_first := v_first.place IS NULL
      OR coalesce((p_ticket, p_replica, p_place) <= (v_first.ticket, v_first.replica, v_first.place), false);
    IF NOT (v_is_own OR (held_ms = 0 AND is_first)) THEN
      outcome := 'busy';
      IF p_place IS NOT NULL THEN
        ticket := join_line(p_session_key, p_replica, p_place, p_ticket, p_longest_line, p_place_ms);
        outcome := CASE WHEN ticket IS NULL THEN 'full' ELSE 'busy' END;
      END IF;
      RETURN;
    END IF;

    EXIT WHEN v_session.session_id IS NOT NULL;
    INSERT INTO sessions (session_id, session_key, namespace, agent_id, created_at_ms, updated_at_ms)
    VALUES (p_new_id, p_session_key, p_namespace, p_agent_id, v_now, v_now)
    ON CONFLICT (session_key) DO NOTHING RETURNING * INTO v_session;
    EXIT WHEN FOUND;
  END LOOP;

  IF p_ticket IS NOT NULL THEN
    DELETE FROM waiters WHERE replica = p_replica AND place = p_place;
  END IF;
  -- `Reset::due_before_ms` in the program is the same rule.
  IF NOT v_is_own AND v_session.last_seq > 0 AND v_session.updated_at_ms < greatest(
    v_now - p_idle_ms,
    (v_now + c_day_ms - p_daily_ms) / c_day_ms * c_day_ms + p_daily_ms - c_day_ms
  ) THEN
    v_session := begin_anew(v_session, p_new_id);
  END IF;

  outcome := 'granted';
  session_id := v_session.session_id;
  token := greatest(v_session.lease_token + 1, floor(date_part('epoch', clock_timestamp()) * 1000000)::bigint);
  message_count := v_session.last_seq - v_session.first_seq + 1;
  UPDATE sessions SET lease_token = token, lease_run_id = p_run_id, lease_runner = p_runner,
    lease_expires_at_ms = v_now + p_lease_ms
  WHERE sessions.session_id = v_session.session_id;
  newest := ARRAY(
    SELECT body FROM (
      SELECT seq, body, sum(octet_length(body)) OVER (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING) AS bytes
      FROM messages WHERE session = v_session.session_id AND seq > v_session.last_seq - p_window
      ORDER BY seq DESC
    ) AS numbered
    WHERE bytes <= p_window_bytes ORDER BY seq DESC
  );
END $$;

-- Puts off the lease's expiry; says whether the lease was still the session's newest.
CREATE FUNCTION renew_lease(p_session_id uuid, p_token bigint, p_lease_ms bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE sessions SET lease_expires_at_ms = now_ms() + p_lease_ms
  WHERE session_id = p_session_id AND lease_token = p_token AND lease_run_id IS NOT NULL;
  RETURN FOUND;
END $$;

-- Appends the turn and gives the lease back; or says again what it said when it did; `last_seq` is null when the lease
-- was lost. Also says who is first in line. At most `p_max_messages` are kept if it isn't null, but a session that is
-- far too long gets there step by step: `CommitTurn::first_seq` in the program is the same rule.
CREATE FUNCTION commit_turn(
  p_session_id uuid, p_token bigint, p_run_id text, p_roles text[], p_bodies bytea[],
  p_prompt_tokens bigint, p_completion_tokens bigint, p_cached_tokens bigint, p_reasoning_tokens bigint,
  p_outcome bytea, p_run_ttl_ms bigint, p_max_messages bigint,
  OUT last_seq bigint, OUT replica uuid, OUT place bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  c_step CONSTANT bigint := 64;
  c_added CONSTANT bigint := cardinality(p_bodies);
  v_first_seq bigint;
  v_oldest_seq bigint;
  v_session_key text;
  v_now bigint;
BEGIN
  UPDATE sessions SET updated_at_ms = now_ms(),
    first_seq = least(
      greatest(first_seq, sessions.last_seq + c_added + 1 - p_max_messages), first_seq + c_added + c_step
    ),
    last_seq = sessions.last_seq + c_added,
    lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0,
    prompt_tokens = prompt_tokens + p_prompt_tokens, completion_tokens = completion_tokens + p_completion_tokens,
    cached_tokens = cached_tokens + p_cached_tokens, reasoning_tokens = reasoning_tokens + p_reasoning_tokens
  WHERE session_id = p_session_id AND lease_token = p_token AND lease_run_id = p_run_id
  RETURNING sessions.last_seq, first_seq, session_key, updated_at_ms
  INTO last_seq, v_first_seq, v_session_key, v_now;
  IF NOT FOUND THEN
    SELECT turns.last_seq INTO last_seq FROM turns
    WHERE session = p_session_id AND run_id = p_run_id AND lease_token = p_token;
    RETURN;
  END IF;

  INSERT INTO messages (session, seq, role, run_id, created_at_ms, body)
  SELECT p_session_id, last_seq - c_added + number, role, p_run_id, v_now, body
  FROM unnest(p_roles, p_bodies) WITH ORDINALITY AS added (role, body, number);
  IF v_first_seq > 1 THEN
    -- No more are deleted at once, and the index may still hold those that were deleted before.
    v_oldest_seq := v_first_seq - c_added - c_step;
    DELETE FROM turns WHERE session = p_session_id AND run_id = ANY (ARRAY(
      SELECT DISTINCT run_id FROM messages WHERE session = p_session_id AND seq >= v_oldest_seq AND seq < v_first_seq
    ));
    DELETE FROM messages WHERE session = p_session_id AND seq >= v_oldest_seq AND seq < v_first_seq;
  END IF;
  INSERT INTO turns (session, run_id, lease_token, last_seq) VALUES (p_session_id, p_run_id, p_token, last_seq);
  IF p_outcome <> '' THEN
    -- 2 is RUN_STATE_FINISHED.
    UPDATE runs SET state = 2, outcome = p_outcome, expires_at_ms = v_now + p_run_ttl_ms WHERE run_id = p_run_id;
  END IF;
  SELECT first.replica, first.place INTO replica, place FROM first_in_line(v_session_key) first;
END $$;

-- Gives the lease back, if it is still the newest, and says who is first in line.
CREATE FUNCTION abandon_turn(p_session_id uuid, p_token bigint, OUT replica uuid, OUT place bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_session_key text;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE sessions SET lease_run_id = NULL, lease_runner = '', lease_expires_at_ms = 0
  WHERE session_id = p_session_id AND lease_token = p_token AND lease_run_id IS NOT NULL
  RETURNING session_key INTO v_session_key;
  IF FOUND THEN
    SELECT first.replica, first.place INTO replica, place FROM first_in_line(v_session_key) first;
  END IF;
END $$;
