/* A move that was interrupted goes on, starts over or is given up, and what is said twice does no
 * harm. At random, with crashes: test_move_model.c. */
#include "shard/bitcask_impl.h"
#include "tests/check_main.h"
#include "tests/shard/move_pair.h"

START_TEST(a_copy_goes_on_after_a_restart_of_either_side)
{
    for (unsigned i = 0; i < 40 * KEYS; i++) {
        (void)put(&a, key_of(i), value_of(i, "first"));
    }
    OK(move_begin(&d, 1, 0, all));
    unsigned steps = 0;
    while (d.page.gap == SC_EXPORTER_GAP_UNKNOWN || steps == 0) {
        OK(move_step(&d));
        if (++steps % 3 == 0) {
            close_end(0);
            open_end(0);
            ck_assert(sc_bitcask_merges_held(a.store));
            ck_assert(!sc_exporter_has(d.ends[0].exporter, 1));
            struct sc_buf cursor = {0};
            struct sc_buf mark = {0};
            uint64_t keys;
            uint64_t bytes;
            sc_buf_append_slice(&cursor, sc_buf_slice(&d.cursor));
            OK(sc_exporter_begin(d.ends[0].exporter, 1, all, sc_buf_slice(&d.mark), &mark, &keys,
                                 &bytes, d.why));
            ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_buf_slice(&d.mark)));
            ck_assert_uint_eq(keys, 40 * KEYS);
            sc_buf_fini(&cursor);
            sc_buf_fini(&mark);
        }
        if (steps % 4 == 0) {
            kill_end(1);
            open_end(1);
            ck_assert(sc_bitcask_merges_held(b.store));
            OK(move_begin(&d, 1, 0, all)); /* from the cursor that is durable: none yet */
            ck_assert_uint_eq(d.cursor.size, 0);
            break;
        }
    }
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    for (unsigned i = 0; i < 40 * KEYS; i++) {
        expect(&b, key_of(i), value_of(i, "first"));
    }
}
END_TEST

START_TEST(the_cursor_is_durable_every_64_MiB)
{
    struct sc_buf large = {0};
    const struct sc_bitcask_write options = {0};
    uint64_t version;
    memset(sc_buf_reserve(&large, 1 << 20), 'x', 1 << 20);
    large.size = 1 << 20;
    for (unsigned i = 0; i < 80; i++) {
        struct sc_slice key = sc_slice_str(key_of(i));
        OK(sc_bitcask_put(a.store, key, sc_slot_hash(key), sc_buf_slice(&large), &options, &version,
                          &a.position, a.why));
        commit(&a);
    }
    OK(move_begin(&d, 1, 0, all));
    while (d.page.gap == SC_EXPORTER_GAP_UNKNOWN || d.page.cursor.size == 0) {
        OK(move_step(&d));
        ck_assert_uint_le(d.page.frame.size, (1 << 20) + 4096);
    }
    kill_end(1);
    open_end(1);
    OK(move_begin(&d, 1, 0, all));
    ck_assert_uint_gt(d.cursor.size, 0);
    unsigned again = 0;
    while (move_step(&d) == SC_OK && d.page.frame.size > 0) {
        again++;
    }
    ck_assert_uint_lt(again, 20);
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    ck_assert_uint_eq(sc_bitcask_count(b.store, all, &b.position), 80);
    sc_buf_fini(&large);
}
END_TEST

START_TEST(without_a_durable_cursor_it_begins_with_nothing)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    commit(&b); /* all has arrived, and is on disk */
    kill_end(1);
    open_end(1);
    for (unsigned i = 0; i < KEYS; i += 2) {
        (void)del(&a, key_of(i)); /* before the mark with which the source begins again */
    }
    OK(move_begin(&d, 1, 0, odd));
    ck_assert_uint_eq(d.cursor.size, 0);
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    for (unsigned i = 0; i < KEYS; i++) {
        expect(is_odd(key_of(i)) ? &b : &a, key_of(i), i % 2 == 0 ? NULL : value_of(i, "first"));
    }
}
END_TEST

START_TEST(what_is_ready_is_not_begun_anew)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    for (unsigned round = 0; round < 2; round++) {
        struct sc_buf cursor = {0};
        struct sc_buf mark = {0};
        OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &cursor, &mark, d.why));
        ck_assert(sc_slice_equal(sc_buf_slice(&cursor), sc_buf_slice(&d.cursor)));
        ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_buf_slice(&d.mark)));
        sc_buf_fini(&cursor);
        sc_buf_fini(&mark);
        kill_end(1);
        open_end(1);
    }
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    expect_keys(&b, odd, "first");
}
END_TEST

START_TEST(nothing_at_all_can_be_ready_too)
{
    struct sc_buf nothing = {0};
    OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &nothing, &nothing, d.why));
    OK(sc_importer_finish(d.ends[1].importer, 0, 0, 1, d.why));
    OK(sc_importer_begin(d.ends[1].importer, 1, odd, 0, 0, &nothing, &nothing, d.why));
    ck_assert_uint_eq(nothing.size, 0);
    OK(move_grant(&d, 1, 1, 2, odd));
}
END_TEST

START_TEST(another_mark_makes_it_start_over)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(sc_manifest_import_progress(b.store->manifest, sc_buf_slice(&d.cursor),
                                   sc_buf_slice(&d.mark), d.why));
    OK(sc_exporter_end(d.ends[0].exporter, 1, d.why));
    ck_assert(!sc_bitcask_merges_held(a.store)); /* so the log may change now */
    OK(move_begin(&d, 1, 0, all));
    ck_assert_uint_eq(d.cursor.size, 0);
    (void)del(&a, key_of(5));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i == 5 ? NULL : value_of(i, "first"));
    }
}
END_TEST

START_TEST(frames_that_come_twice_or_again_do_no_harm)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    OK(move_step(&d));
    struct sc_buf early = {0};
    sc_buf_append_slice(&early, sc_buf_slice(&d.page.frame));
    ck_assert_uint_gt(early.size, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        if (i % 2 == 0) {
            (void)put(&a, key_of(i), value_of(i, "second"));
        } else {
            (void)del(&a, key_of(i));
        }
    }
    OK(move_to_end(&d));
    OK(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                         sc_buf_slice(&early), d.why));
    OK(move_finish(&d));
    OK(move_finish(&d)); /* the answer was lost */
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    OK(move_grant(&d, 1, 1, 2, all));
    OK(move_abort(&d)); /* too late: it says nothing any more */
    for (unsigned i = 0; i < KEYS; i++) {
        expect(&b, key_of(i), i % 2 == 0 ? value_of(i, "second") : NULL);
    }
    sc_buf_fini(&early);
}
END_TEST

START_TEST(an_aborted_move_leaves_nothing_behind)
{
    put_all(&a, "first");
    for (uint64_t round = 1; round < 4; round++) {
        OK(move_begin(&d, round, 0, odd));
        OK(move_to_end(&d));
        if (round > 1) {
            OK(move_finish(&d));
        }
        if (round > 2) {
            close_end(1);
            open_end(1);
        }
        OK(move_abort(&d));
        expect_keys(&a, all, "first");
        expect_keys(&b, none, "first");
        ck_assert(!sc_bitcask_merges_held(a.store) && !sc_bitcask_merges_held(b.store));
        (void)put(&a, key_of(1), value_of(1, "first"));
        ck_assert_int_eq(move_grant(&d, 1, 1, 1 + round, odd), SC_DENIED);
    }
    close_end(1);
    open_end(1);
    expect_keys(&b, none, "first");
    move_odd(0, 9, 9);
    expect_keys(&b, odd, "first");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moving resume");
    TCase *t = tcase_create("moving resume");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_copy_goes_on_after_a_restart_of_either_side);
    tcase_add_test(t, the_cursor_is_durable_every_64_MiB);
    tcase_add_test(t, without_a_durable_cursor_it_begins_with_nothing);
    tcase_add_test(t, what_is_ready_is_not_begun_anew);
    tcase_add_test(t, nothing_at_all_can_be_ready_too);
    tcase_add_test(t, another_mark_makes_it_start_over);
    tcase_add_test(t, frames_that_come_twice_or_again_do_no_harm);
    tcase_add_test(t, an_aborted_move_leaves_nothing_behind);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
