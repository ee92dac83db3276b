-- The line in which turns wait for a session's lease.

-- Who is first in the session's line; null when nobody is.
CREATE FUNCTION first_in_line(p_session_key text, OUT replica uuid, OUT place bigint, OUT ticket bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  v_now bigint := now_ms();
BEGIN
  SELECT waiters.replica, waiters.place, waiters.ticket INTO replica, place, ticket FROM waiters
  WHERE session_key = p_session_key AND expires_at_ms > v_now
  ORDER BY ticket, replica, place LIMIT 1;
END $$;

-- Puts a turn at the end of the session's line, or back to where its ticket says; null when the line is full.
CREATE FUNCTION join_line(
  p_session_key text, p_replica uuid, p_place bigint, p_ticket bigint, p_longest bigint, p_expiry_ms bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  v_now bigint := now_ms();
BEGIN
  -- Those that another transaction has locked are being deleted, or have just been put off.
  WITH expired AS MATERIALIZED (
    SELECT replica, place FROM waiters WHERE session_key = p_session_key AND expires_at_ms <= v_now
    FOR UPDATE SKIP LOCKED
  )
  DELETE FROM waiters USING expired WHERE waiters.replica = expired.replica AND waiters.place = expired.place;
  IF p_ticket IS NULL THEN
    IF (SELECT count(*) FROM waiters WHERE session_key = p_session_key AND expires_at_ms > v_now) >= p_longest THEN
      RETURN NULL;
    END IF;
    p_ticket := nextval('tickets');
  END IF;
  INSERT INTO waiters (session_key, ticket, replica, place, expires_at_ms)
  VALUES (p_session_key, p_ticket, p_replica, p_place, v_now + p_expiry_ms)
  ON CONFLICT (replica, place) DO NOTHING;
  RETURN p_ticket;
END $$;

-- Takes a turn out of the line, and says who is first then.
CREATE FUNCTION leave_line(
  p_session_key text, p_replica uuid, p_place bigint, OUT replica uuid, OUT place bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  -- Two that leave at a time would each name the other.
  PERFORM FROM sessions WHERE session_key = p_session_key FOR UPDATE;
  DELETE FROM waiters WHERE replica = p_replica AND place = p_place;
  SELECT first.replica, first.place INTO replica, place FROM first_in_line(p_session_key) first;
END $$;

-- Puts off the expiry of a replica's places where less than `p_left_ms` is left of it. Says whose places have to look:
-- those that are first while the lease is free, or will be before the next call of this, and those that got lost.
CREATE FUNCTION keep_places(
  p_replica uuid, p_places bigint[], p_expiry_ms bigint, p_left_ms bigint, p_pause_ms bigint
) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
  v_now bigint := now_ms();
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);
  UPDATE waiters SET expires_at_ms = v_now + p_expiry_ms
  WHERE replica = p_replica AND place = ANY (p_places) AND expires_at_ms < v_now + p_left_ms;
  RETURN QUERY SELECT kept.place FROM unnest(p_places) AS kept (place)
  LEFT JOIN waiters waiter ON waiter.replica = p_replica AND waiter.place = kept.place
  LEFT JOIN sessions session ON session.session_key = waiter.session_key
  WHERE waiter.place IS NULL
    OR (
      (session.lease_run_id IS NULL OR session.lease_expires_at_ms < v_now + p_pause_ms)
      AND NOT EXISTS (
        SELECT FROM waiters earlier
        WHERE earlier.session_key = waiter.session_key AND earlier.expires_at_ms > v_now
          AND (earlier.ticket, earlier.replica, earlier.place) < (waiter.ticket, waiter.replica, waiter.place)
      )
    );
END $$;
