/* What either side of a move refuses, and what is left when something fails: the source has
 * everything. */
#include "shard/bitcask_impl.h"
#include "shard/frame.h"
#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/move_pair.h"

#include <errno.h>

/* ---- What is refused ---- */

START_TEST(a_frame_that_is_damaged_anywhere_is_refused)
{
    put_all(&a, "first");
    uint64_t removed;
    OK(move_begin(&d, 1, 0, odd));
    OK(sc_bitcask_clear(a.store, all, &removed, &a.position, a.why));
    (void)put(&a, key_of(2), "two");
    commit(&a);
    OK(sc_exporter_read(d.ends[0].exporter, sc_buf_slice(&d.cursor), &d.page, d.why));
    struct sc_buf frame = {0};
    struct sc_record record = {5,    0, SC_RECORD_PUT, sc_slice_str("a key"), sc_slice_str("value"),
                               false};
    for (char c = 'a'; !is_odd(record.key.data); c++) {
        static char key[8];
        (void)snprintf(key, sizeof key, "key %c", c);
        record.key = sc_slice_str(key);
    }
    sc_frame_put(&frame, &record);
    record.kind = SC_RECORD_TOMBSTONE;
    record.value.size = 0;
    record.version = 6;
    sc_frame_put(&frame, &record);
    for (size_t i = 0; i < frame.size; i++) {
        bool padding = i >= 32 + 10 && i < 48;
        frame.data[i] ^= 0x10;
        enum sc_status status =
            sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                              sc_buf_slice(&frame), d.why);
        ck_assert_msg(status == SC_CORRUPT || (padding && status == SC_OK) ||
                          (i >= 48 + 32 + 5 && status == SC_OK),
                      "byte %zu: %d", i, status);
        frame.data[i] ^= 0x10;
    }
    for (size_t size = 1; size < frame.size; size++) {
        if (size != 48) {
            ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                               sc_buf_slice(&d.mark), sc_slice(frame.data, size),
                                               d.why),
                             SC_CORRUPT);
        }
    }
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(records_of_other_slots_are_refused)
{
    struct sc_buf frame = {0};
    uint8_t clear[4];
    OK(move_begin(&d, 1, 0, odd));
    for (unsigned i = 0; i < KEYS; i++) {
        struct sc_record record = {
            5, 0, SC_RECORD_PUT, sc_slice_str(key_of(i)), sc_slice_str("value"), false};
        frame.size = 0;
        sc_frame_put(&frame, &record);
        ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                           sc_buf_slice(&d.mark), sc_buf_slice(&frame), d.why),
                         is_odd(key_of(i)) ? SC_OK : SC_CORRUPT);
    }
    frame.size = 0;
    sc_record_clear_key(clear, 1, 3);
    struct sc_record record = {6, 0, SC_RECORD_CLEAR, sc_slice(clear, 4), sc_slice(NULL, 0), false};
    sc_frame_put(&frame, &record);
    ck_assert_int_eq(sc_importer_write(d.ends[1].importer, sc_buf_slice(&d.cursor),
                                       sc_buf_slice(&d.mark), sc_buf_slice(&frame), d.why),
                     SC_CORRUPT);
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(what_is_not_all_there_is_refused)
{
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why));
    struct sc_importer *importer = d.ends[1].importer;
    ck_assert_int_eq(
        sc_importer_finish(importer, d.seal.count + 1, d.seal.digest, d.seal.version, d.why),
        SC_CORRUPT);
    ck_assert_int_eq(
        sc_importer_finish(importer, d.seal.count, d.seal.digest ^ 1, d.seal.version, d.why),
        SC_CORRUPT);
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    OK(move_finish(&d));
    /* Written to after all, it is not ready any more. */
    struct sc_buf frame = {0};
    struct sc_record record = {d.seal.version + 1,    0,    SC_RECORD_PUT, sc_slice_str("late"),
                               sc_slice_str("value"), false};
    unsigned n = 0;
    while (!is_odd(record.key.data)) {
        static char key[16];
        (void)snprintf(key, sizeof key, "late-%u", n++);
        record.key = sc_slice_str(key);
    }
    sc_frame_put(&frame, &record);
    OK(sc_importer_write(importer, sc_buf_slice(&d.cursor), sc_buf_slice(&d.mark),
                         sc_buf_slice(&frame), d.why));
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    close_end(1);
    open_end(1);
    ck_assert_int_eq(move_grant(&d, 1, 1, 2, odd), SC_DENIED);
    sc_buf_fini(&frame);
}
END_TEST

START_TEST(only_what_is_here_can_leave)
{
    ck_assert_int_eq(move_begin(&d, 1, 1, odd), SC_DENIED); /* from b to a, which has them */
    struct sc_buf mark = {0};
    uint64_t number;
    ck_assert_int_eq(sc_exporter_begin(d.ends[1].exporter, 1, odd, sc_slice(NULL, 0), &mark,
                                       &number, &number, d.why),
                     SC_DENIED);
    ck_assert(!sc_bitcask_merges_held(b.store));
    sc_buf_fini(&mark);
}
END_TEST

START_TEST(a_damaged_record_of_a_live_key_ends_the_copy)
{
    char path[512];
    put_all(&a, "first");
    (void)put(&a, key_of(9), value_of(9, "second"));
    close_end(0);
    data_path(a.dir, 0, path);
    struct sc_buf bytes = file_read(path);
    const char *needle = "first of 9 ";
    uint8_t *found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    ck_assert_ptr_nonnull(found);
    found[1] ^= 1; /* of a record that nobody needs any more */
    file_write(path, bytes.data, bytes.size);
    quiet();
    open_end(0);
    OK(move_begin(&d, 1, 0, all));
    OK(move_to_end(&d));
    OK(move_abort(&d));
    close_end(0);
    needle = "second of 9 ";
    found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    ck_assert_ptr_nonnull(found);
    found[1] ^= 1; /* of one that somebody does */
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    open_end(0);
    OK(move_begin(&d, 2, 0, all));
    ck_assert_int_eq(move_to_end(&d), SC_CORRUPT);
    ck_assert_ptr_nonnull(strstr(d.why, "key-9"));
    ck_assert_ptr_nonnull(strstr(d.why, "0000000001.data"));
    OK(move_abort(&d));
    expect(&a, key_of(8), value_of(8, "first"));
}
END_TEST

/* Stops the target in the middle of a move, damages a record that has arrived, and goes on: what is
 * damaged is not taken over. `of`: which byte, from where the value begins. */
static void damage_what_arrived(uint64_t move, int of)
{
    char path[512];
    sc_importer_save_after(d.ends[1].importer, 1);
    OK(move_begin(&d, move, 0, all));
    OK(move_to_end(&d));
    (void)put(&a, "more", "of it");
    OK(move_to_end(&d)); /* a cursor behind all before is durable */
    close_end(1);
    data_path(b.dir, data_files(b.dir) - 1, path);
    struct sc_buf bytes = file_read(path);
    const char *needle = "first of 9 ";
    uint8_t *found = memmem(bytes.data, bytes.size, needle, strlen(needle));
    for (uint8_t *next = found; next != NULL;) { /* the last copy of it */
        found = next;
        size_t before = (size_t)(next + 1 - bytes.data);
        next = memmem(next + 1, bytes.size - before, needle, strlen(needle));
    }
    ck_assert_ptr_nonnull(found);
    found[of] ^= 1;
    file_write(path, bytes.data, bytes.size);
    sc_buf_fini(&bytes);
    for (int number = 1; number < 20; number++) {
        (void)snprintf(path, sizeof path, "%s/%010d.hint", b.dir, number);
        (void)unlink(path);
    }
    open_end(1);
    OK(move_begin(&d, move, 0, all));
    ck_assert_uint_gt(d.cursor.size, 0);
    ck_assert_int_eq(move_finish(&d), SC_CORRUPT);
    OK(move_abort(&d));
    expect_keys(&a, all, "first");
}

START_TEST(what_is_damaged_at_the_target_is_not_taken_over)
{
    quiet();
    put_all(&a, "first");
    damage_what_arrived(1, 3);
    ck_assert_ptr_nonnull(strstr(d.why, "damaged"));
    damage_what_arrived(2, -8); /* in its key, or before it */
    OK(move_begin(&d, 3, 0, all));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, none));
    OK(move_grant(&d, 1, 1, 2, all));
    expect_keys(&b, all, "first");
}
END_TEST

START_TEST(cursors_of_others_are_refused)
{
    static const char *const cursors[] = {"\x03",
                                          "\x02",
                                          "\x01short",
                                          "\x01"
                                          "12345678"
                                          "not its hash",
                                          "\x02\x01\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0",
                                          "\x02\x01\0\0\0\0\0\0\0\x03\x10\0\0\0\0\0\0"};
    static const size_t sizes[] = {1, 1, 6, 21, 17, 17};
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, all));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ck_assert_int_eq(
            sc_exporter_read(d.ends[0].exporter, sc_slice(cursors[i], sizes[i]), &d.page, d.why),
            SC_MISMATCH);
    }
}
END_TEST

START_TEST(a_target_without_room_refuses)
{
    struct sc_buf nothing = {0};
    ck_assert_int_eq(sc_importer_begin(d.ends[1].importer, 1, odd, UINT64_C(1) << 60, 5, &nothing,
                                       &nothing, d.why),
                     SC_IO);
    ck_assert_ptr_nonnull(strstr(d.why, "free"));
    close_end(1);
    b.options.max_memory = 2 << 20;
    open_end(1);
    ck_assert_int_eq(
        sc_importer_begin(d.ends[1].importer, 1, odd, 5, 100000, &nothing, &nothing, d.why), SC_IO);
    ck_assert_ptr_nonnull(strstr(d.why, "--max-memory"));
    ck_assert(!sc_bitcask_merges_held(b.store));
    sc_buf_fini(&nothing);
}
END_TEST

/* ---- Failures ---- */

/* Every system call fails once, at either side: what is answered is an error or the truth, and the
 * source has everything. */
START_TEST(any_system_call_may_fail)
{
    unsigned failed = 0;
    uint64_t call = 1;
    bool done = false;
    quiet();
    put_all(&a, "first");
    for (; !done; call++) {
        uint64_t move = call;
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        enum sc_status status = move_begin(&d, move, 0, odd);
        if (status == SC_OK) {
            status = move_to_end(&d);
        }
        if (status == SC_OK) {
            (void)sc_bitcask_commit(a.store, false);
            status = move_finish(&d);
        }
        done = sc_io_fault(0, 0, 0, false) < call;
        failed += status != SC_OK;
        ck_assert(status == SC_OK || status == SC_IO);
        bool broken = sc_bitcask_failed(a.store) != NULL || sc_bitcask_failed(b.store) != NULL;
        if (broken || call % 3 == 0) {
            for (unsigned end = 0; end < 2; end++) {
                move_closing(&d, end);
                (void)sc_bitcask_close(d.ends[end].f->store);
                open_end(end);
            }
        }
        d.move = move;
        d.from = 0;
        OK(move_abort(&d));
        expect_keys(&a, all, "first");
        expect_keys(&b, none, "first");
    }
    ck_assert_uint_gt(failed, 10);
    move_odd(0, call + 1, 2);
    expect_keys(&b, odd, "first");
}
END_TEST

START_TEST(a_store_that_takes_no_writes_can_only_be_read)
{
    quiet();
    put_all(&a, "first");
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    (void)put(&a, key_of(0), "unsynced");
    (void)sc_io_fault(SC_IO_SYNC, 1, EIO, true);
    ck_assert_int_eq(move_to_end(&d), SC_IO);
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_ptr_nonnull(sc_bitcask_failed(a.store));
    ck_assert_int_eq(sc_exporter_seal(d.ends[0].exporter, &d.seal, d.why), SC_IO);
    ck_assert(!a.store->moving.sealed);
    expect(&a, key_of(1), value_of(1, "first"));
    move_closing(&d, 0);
    (void)sc_bitcask_close(a.store);
    open_end(0);
    OK(move_begin(&d, 1, 0, odd));
    OK(move_to_end(&d));
    OK(move_finish(&d));
    OK(move_grant(&d, 0, 1, 2, even));
    OK(move_grant(&d, 1, 1, 2, odd));
    expect(is_odd(key_of(1)) ? &b : &a, key_of(1), value_of(1, "first"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("moving refused");
    TCase *t = tcase_create("moving refused");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_frame_that_is_damaged_anywhere_is_refused);
    tcase_add_test(t, records_of_other_slots_are_refused);
    tcase_add_test(t, what_is_not_all_there_is_refused);
    tcase_add_test(t, only_what_is_here_can_leave);
    tcase_add_test(t, a_damaged_record_of_a_live_key_ends_the_copy);
    tcase_add_test(t, what_is_damaged_at_the_target_is_not_taken_over);
    tcase_add_test(t, cursors_of_others_are_refused);
    tcase_add_test(t, a_target_without_room_refuses);
    tcase_add_test(t, any_system_call_may_fail);
    tcase_add_test(t, a_store_that_takes_no_writes_can_only_be_read);
    suite_add_tcase(suite, t);
    return sc_check_main(suite);
}
