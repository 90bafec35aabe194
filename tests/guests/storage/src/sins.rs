//! The sins of this guest, by the call in which they are committed; those of whole runs are chosen by the storage's URL. The guest and its tests are both made of this one list, so a sin
//! that nobody committed or nobody tests doesn't compile.

/// Hands the list to another macro.
macro_rules! for_each_sin {
    ($use:ident) => {
        $use! {
            stat {
                loops_for_ever,
                sleeps_in_a_host_call,
                allocates_without_end,
                recurses,
                panics,
                hoards_handles,
                hoards_bodies,
                forgets_handles,
                passes_too_much,
                floods_the_log,
                floods_its_output,
                fails_with_escapes,
                reads_its_surroundings,
                speaks_of_another_key,
                asks_for_a_directory,
                asks_for_an_origin,
                asks_for_a_place,
                asks_for_a_machine,
                asks_for_a_database,
                asks_for_a_program,
                asks_for_a_secret,
                asks_for_an_undeclared_secret,
                follows_a_redirect,
                injects_headers,
                climbs_out,
                races_links,
                crafts_commands,
                uses_a_dropped_handle,
                forges_a_handle,
                runs_a_program,
            }
            stat_needs_mounts {
                trusts_a_name_that_changes,
                connects_to_a_name_that_changes,
            }
            stat_needs_mariadb {
                keeps_the_database_lock,
            }
            list {
                lists_too_many,
                lists_dots,
                lists_control_characters,
                lists_what_lies_deeper,
                lists_what_lies_elsewhere,
                lists_long_keys,
                lists_keys_of_ten_megabytes,
                lists_one_page_for_ever,
            }
            read {
                reads_too_little,
                reads_too_much,
            }
            put {
                peeks_at_the_backup,
            }
            begin {
                names_an_upload_too_long,
                claims_four_gigabytes,
            }
            put_segment {
                gives_a_long_receipt,
            }
            whole_runs {
                lists_new_pages_for_ever,
                commits_nothing,
                reads_other_bytes,
            }
        }
    };
}
