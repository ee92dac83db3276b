//! The contract of `clawdbot.session.v1.SessionStore`, as one suite that every database has to pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod database;
mod fencing;
mod interleavings;
mod lifetimes;
mod lists;
mod replicas;
mod runs;
mod turns;
mod validation;
mod waiting;

/// Makes tests of promises, each for a fresh database of one kind.
macro_rules! tests {
    ($kind:ident: $($rest:tt)+) => {
        tests! { $kind as $kind: $($rest)+ }
    };
    ($name:ident as $kind:ident: $($module:ident { $($promise:ident,)+ })+) => {
        mod $name {
            $($(
                #[tokio::test]
                async fn $promise() {
                    crate::$module::$promise(crate::database::$kind().await).await;
                }
            )+)+
        }
    };
}

/// Everything that is promised, whatever the database.
macro_rules! contract {
    ($kind:ident) => {
        tests! {
            $kind:
            turns {
                a_turn_begins_with_what_the_turns_before_it_committed,
                an_abandoned_turn_leaves_nothing,
                a_repeated_commit_changes_nothing_and_answers_the_same,
                a_run_that_has_committed_cannot_begin_again,
                the_window_ends_with_the_newest_message_and_never_starts_with_a_tool_message,
                large_messages_come_back_and_bound_the_window,
                usage_adds_up,
                committed_turns_survive_a_restart,
            }
            fencing {
                the_same_run_takes_its_lease_over_and_the_old_one_is_refused,
                an_expired_lease_goes_to_who_waits_and_is_refused_from_then_on,
                an_expired_lease_that_nobody_took_still_commits,
                a_renewed_lease_lasts_longer,
                a_lease_that_was_given_back_is_refused,
                a_lost_lease_gives_back_nothing_of_the_next,
                a_reset_refuses_the_turn_in_flight_and_forgets_the_transcript,
                a_deletion_refuses_the_turn_in_flight,
                a_commit_for_another_run_is_refused,
            }
            waiting {
                whoever_will_not_wait_is_told_at_once,
                nobody_waits_longer_than_asked_or_configured,
                turns_come_in_the_order_of_arrival,
                a_free_lease_is_left_to_who_came_first,
                whoever_hangs_up_leaves_the_line,
                a_lease_that_nobody_is_there_to_take_is_given_back,
                a_full_line_takes_nobody,
                the_run_that_holds_the_lease_passes_the_line,
                abandon_reset_and_deletion_call_the_next,
                a_commit_through_one_store_lets_a_run_wait_at_another,
                draining_sends_those_who_wait_away,
                shutdown_finishes_what_was_taken,
            }
            lists {
                sessions_come_in_pages_both_ways,
                sessions_of_one_agent_are_listed_alone,
                sessions_of_one_namespace_are_listed_alone,
                a_turn_in_flight_is_shown_until_it_is_over,
                messages_come_in_pages_both_ways,
                what_is_not_there_is_not_found,
            }
            runs {
                a_recorded_run_is_found_until_it_expires,
                a_run_that_goes_on_is_written_by_its_runner_or_who_replaces_it,
                a_run_without_a_turn_is_finished_by_its_runner_and_nobody_else,
                a_failed_run_may_be_run_again_by_anybody,
                a_finished_run_stays_as_it_is,
                a_commit_ends_its_run_and_a_lost_lease_does_not,
                a_session_takes_the_answers_of_its_runs_along,
            }
            lifetimes {
                a_session_that_idles_too_long_begins_anew,
                a_session_of_yesterday_begins_anew,
                a_run_that_takes_its_own_lease_over_finds_its_session,
                a_long_transcript_loses_its_oldest_messages,
                an_unused_session_is_deleted_but_not_under_a_turn,
                another_configuration_holds_without_a_restart,
                a_huge_transcript_is_deleted_in_steps_and_reaches_no_other_session,
                tokens_grow_over_takeovers_resets_and_expiries,
            }
            interleavings {
                any_interleaving_leaves_what_the_model_says,
            }
            validation {
                a_wrong_field_is_named,
            }
        }
    };
}

contract!(sqlite);
contract!(postgres);

// What only a database for many replicas promises.
tests! {
    postgres_replicas as postgres:
    replicas {
        turns_come_in_the_order_of_arrival_whichever_replica_they_wait_at,
        a_replica_that_dies_first_in_line_blocks_nobody,
        a_replica_that_dies_with_the_lease_blocks_until_it_expires,
        replicas_that_start_at_once_make_one_layout,
        a_newer_layout_is_refused,
    }
}
