//! The contract of `clawdbot.session.v1.SessionStore`, as one suite that every database has to pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod database;
mod fencing;
mod lists;
mod turns;
mod validation;
mod waiting;

/// Makes tests of promises, each for a fresh database of one kind.
macro_rules! tests {
    ($kind:ident: $($module:ident { $($promise:ident,)+ })+) => {
        mod $kind {
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
                messages_come_in_pages_both_ways,
                what_is_not_there_is_not_found,
            }
            validation {
                a_wrong_field_is_named,
            }
        }
    };
}

contract!(sqlite);
contract!(postgres);
