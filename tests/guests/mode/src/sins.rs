//! The sins of this guest. The guest and its tests are both made of this one list, so a sin that nobody committed or nobody tests
//! doesn't compile.

/// Hands the list to another macro.
macro_rules! for_each_mode_sin {
    ($use:ident) => {
        $use! {
            fails_to_prepare,
            freezes_what_was_not_granted,
            panics_in_next,
            names_a_source_with_dots,
            backs_up_what_nobody_named,
            hands_out_no_body,
            ignores_that_it_was_cancelled,
            panics_in_finish,
            forgets_handles,
            runs_a_program,
            leaves_a_long_note,
            announces_without_end,
            restores_where_nobody_said,
        }
    };
}
