#include "shard/manifest.h"

#include "shard/io.h"
#include "tests/check_main.h"
#include "tests/shard/store.h"

#include <errno.h>

static char dir[256];
static char why[SC_WHY_SIZE];
static struct sc_files files;
static struct sc_manifest *manifest;
static const uint8_t cluster[16] = "cluster";
static const struct sc_manifest_fence no_fence = {0, 0};
static const struct sc_manifest_fence some_fence = {7, 4096};
static struct sc_manifest_fence fences[SC_SLOT_COUNT];

/* What is told of a move that was asked for last. */
static struct sc_buf cursor;
static struct sc_buf mark;
static uint64_t move;
static bool ready;

static void setup(void)
{
    temporary_dir(dir);
    ck_assert_int_eq(sc_files_open(&files, dir, false, why), SC_OK);
    ck_assert_int_eq(sc_manifest_create(&files, &manifest, why), SC_OK);
}

static void teardown(void)
{
    (void)sc_io_fault(0, 0, 0, false);
    sc_manifest_free(manifest);
    sc_files_close(&files);
    sc_buf_fini(&cursor);
    sc_buf_fini(&mark);
    dir_remove(dir);
}

static void reload(void)
{
    bool damaged = true;
    sc_manifest_free(manifest);
    ck_assert_int_eq(sc_manifest_load(&files, &manifest, &damaged, why), SC_OK);
    ck_assert(!damaged);
}

START_TEST(new_manifest_lists_nothing)
{
    struct sc_manifest_identity identity;
    struct sc_manifest_slot slot;
    reload();
    sc_manifest_identity(manifest, &identity);
    ck_assert(!identity.adopted && identity.shard_id == 0 && identity.term == 0);
    ck_assert_uint_eq(sc_manifest_files(manifest), 0);
    sc_manifest_slot(manifest, 17, &slot);
    ck_assert_int_eq(slot.state, SC_MANIFEST_NONE);
    ck_assert(!sc_manifest_fences(manifest, fences));
}
END_TEST

START_TEST(files_and_voids_are_kept)
{
    const struct sc_manifest_void voids[] = {{2, 500, 40}, {1, 900, 8}, {2, 100, 16}};
    uint64_t first = sc_manifest_next_number(manifest);
    uint64_t second = sc_manifest_next_number(manifest);
    ck_assert_uint_lt(first, second);
    /* The one whose number was given out later may be listed first. */
    ck_assert_int_eq(sc_manifest_add_file(manifest, second, 22, why), SC_OK);
    ck_assert_int_eq(sc_manifest_add_file(manifest, first, 11, why), SC_OK);
    sc_manifest_settle(manifest, first, 4096);
    ck_assert_int_eq(sc_manifest_add_voids(manifest, voids, 3, why), SC_OK);
    reload();
    ck_assert_uint_eq(sc_manifest_files(manifest), 2);
    struct sc_manifest_file file = sc_manifest_file(manifest, 0);
    ck_assert(file.number == first && file.salt == 11 && file.settled_size == 4096);
    ck_assert(sc_manifest_find_file(manifest, second, &file));
    ck_assert(file.salt == 22 && file.settled_size == 0);
    ck_assert(!sc_manifest_find_file(manifest, 99, &file));
    size_t count;
    struct sc_manifest_void *of_second = sc_manifest_voids(manifest, 2, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(of_second[0].offset == 100 && of_second[1].offset == 500);
    free(of_second);
    ck_assert_uint_gt(sc_manifest_next_number(manifest), second);
}
END_TEST

static void set_bit(uint8_t *slots, uint32_t slot)
{
    slots[slot / 8] = (uint8_t)(slots[slot / 8] | 1u << slot % 8);
}

static void set_range(uint8_t *slots, uint32_t first, uint32_t last)
{
    memset(slots, 0, SC_SLOT_COUNT / 8);
    for (uint32_t slot = first; slot <= last; slot++) {
        set_bit(slots, slot);
    }
}

static struct sc_manifest_slot slot_at(uint32_t slot)
{
    struct sc_manifest_slot state;
    sc_manifest_slot(manifest, slot, &state);
    return state;
}

static void assert_states(uint32_t first, uint32_t last, enum sc_manifest_slot_state inside,
                          enum sc_manifest_slot_state outside)
{
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        bool in = slot >= first && slot <= last;
        ck_assert_int_eq(slot_at(slot).state, in ? inside : outside);
    }
}

START_TEST(grants_are_kept_slot_by_slot)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot += 3) {
        set_bit(owned, slot);
    }
    ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_OK);
    ck_assert_int_eq(sc_manifest_grant(manifest, 7, 70, owned, no_fence, why), SC_OK);
    memset(owned, 0, sizeof owned / 2);
    ck_assert(sc_manifest_would_lose(manifest, owned));
    ck_assert_int_eq(sc_manifest_grant(manifest, 7, 71, owned, some_fence, why), SC_OK);
    ck_assert(!sc_manifest_would_lose(manifest, owned));
    reload();
    ck_assert(sc_manifest_fences(manifest, fences));
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        struct sc_manifest_slot state = slot_at(slot);
        bool lost = slot % 3 == 0 && slot < SC_SLOT_COUNT / 2;
        ck_assert_int_eq(state.state, slot % 3 != 0 ? SC_MANIFEST_NONE
                                      : lost        ? SC_MANIFEST_FENCED
                                                    : SC_MANIFEST_OWNED);
        ck_assert_uint_eq(state.epoch, slot % 3 != 0 ? 0 : lost ? 71 : 70);
        ck_assert_uint_eq(state.fence.file, lost ? 7 : 0);
        ck_assert_uint_eq(state.fence.offset, lost ? 4096 : 0);
        /* Whatever may be found of a slot that is another's is dead. */
        ck_assert(sc_manifest_is_dead(fences[slot], 1000, 0) == lost);
    }
}
END_TEST

START_TEST(what_was_never_here_cannot_be_granted)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_OK);
    set_range(owned, 0, 99);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 1, owned, no_fence, why), SC_OK);
    set_bit(owned, 100);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 2, owned, no_fence, why), SC_DENIED);
    ck_assert_ptr_nonnull(strstr(why, "slot 100"));
    set_range(owned, 0, 49);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 2, owned, some_fence, why), SC_OK);
    set_bit(owned, 50);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 3, owned, no_fence, why), SC_DENIED);
    ck_assert_int_eq(sc_manifest_grant(manifest, 0, 4, owned, no_fence, why), SC_DENIED);
    ck_assert_ptr_nonnull(strstr(why, "term"));
    reload();
    ck_assert(slot_at(49).state == SC_MANIFEST_OWNED && slot_at(50).state == SC_MANIFEST_FENCED);
    ck_assert(slot_at(100).state == SC_MANIFEST_NONE);
}
END_TEST

START_TEST(a_first_grant_of_nothing_is_one_too)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_OK);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 5, owned, no_fence, why), SC_OK);
    reload();
    set_bit(owned, 3);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 6, owned, no_fence, why), SC_DENIED);
}
END_TEST

START_TEST(an_epoch_in_which_nothing_changed_costs_no_write)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    struct sc_manifest_identity identity;
    set_range(owned, 0, 99);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 1, owned, no_fence, why), SC_OK);
    (void)sc_io_fault(SC_IO_ANY, 1, EIO, false);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 9, owned, no_fence, why), SC_OK);
    ck_assert_int_eq(sc_manifest_grant(manifest, 2, 9, owned, no_fence, why), SC_IO);
    (void)sc_io_fault(0, 0, 0, false);
    sc_manifest_identity(manifest, &identity);
    ck_assert_uint_eq(identity.epoch, 9);
    ck_assert_int_eq(sc_manifest_flush(manifest, why), SC_OK);
    reload();
    sc_manifest_identity(manifest, &identity);
    ck_assert_uint_eq(identity.epoch, 9);
    ck_assert_uint_eq(identity.term, 1);
}
END_TEST

/* ---- Slots that move ---- */

static bool importing(void)
{
    cursor.size = mark.size = 0;
    return sc_manifest_import(manifest, &move, &ready, &cursor, &mark);
}

static enum sc_status ready_at(const char *end, uint64_t version)
{
    return sc_manifest_import_ready(manifest, sc_slice_str(end), sc_slice_str("mark"), version,
                                    why);
}

static bool exporting(void)
{
    mark.size = 0;
    return sc_manifest_export(manifest, &move, &mark);
}

static void grant_range(uint64_t epoch, uint32_t first, uint32_t last)
{
    uint8_t owned[SC_SLOT_COUNT / 8];
    set_range(owned, first, last);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, epoch, owned, some_fence, why), SC_OK);
}

START_TEST(slots_arrive_step_by_step)
{
    uint8_t slots[SC_SLOT_COUNT / 8];
    uint8_t owned[SC_SLOT_COUNT / 8];
    grant_range(1, 0, 99);
    set_range(slots, 100, 199);
    ck_assert(!importing());
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, slots, some_fence, why), SC_OK);
    reload();
    ck_assert(importing() && move == 77 && !ready && cursor.size == 0 && mark.size == 0);
    ck_assert_int_eq(slot_at(150).state, SC_MANIFEST_IMPORTING);
    ck_assert(slot_at(150).fence.file == 7 && slot_at(150).fence.offset == 4096);

    set_range(owned, 0, 199);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 2, owned, no_fence, why), SC_DENIED);
    ck_assert_int_eq(
        sc_manifest_import_progress(manifest, sc_slice_str("cursor"), sc_slice_str("mark"), why),
        SC_OK);
    reload();
    ck_assert(importing() && move == 77 && !ready);
    ck_assert(sc_slice_equal(sc_buf_slice(&cursor), sc_slice_str("cursor")));
    ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_slice_str("mark")));

    ck_assert_int_eq(ready_at("the end", 5000), SC_OK);
    ck_assert_int_eq(ready_at("the end", 4000), SC_OK);
    reload();
    ck_assert(importing() && ready);
    ck_assert(sc_slice_equal(sc_buf_slice(&cursor), sc_slice_str("the end")));
    ck_assert_uint_eq(sc_manifest_floor(manifest), 5000);
    ck_assert_int_eq(
        sc_manifest_import_progress(manifest, sc_slice_str("further"), sc_slice_str("mark"), why),
        SC_OK);
    ck_assert(importing() && !ready);
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 2, owned, no_fence, why), SC_DENIED);
    ck_assert_int_eq(ready_at("the end", 0), SC_OK);

    ck_assert(!sc_manifest_would_lose(manifest, owned));
    ck_assert_int_eq(sc_manifest_grant(manifest, 1, 2, owned, no_fence, why), SC_OK);
    reload();
    ck_assert(!importing() && cursor.size == 0 && mark.size == 0);
    assert_states(0, 199, SC_MANIFEST_OWNED, SC_MANIFEST_NONE);
    ck_assert(slot_at(150).fence.file == 7 && slot_at(150).epoch == 2 && slot_at(50).epoch == 1);
}
END_TEST

START_TEST(one_move_brings_slots_at_a_time)
{
    uint8_t slots[SC_SLOT_COUNT / 8];
    uint8_t other[SC_SLOT_COUNT / 8];
    const struct sc_manifest_fence later_fence = {9, 64};
    grant_range(1, 0, 99);
    set_range(slots, 100, 199);
    set_range(other, 200, 299);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, slots, some_fence, why), SC_OK);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 78, other, some_fence, why), SC_DENIED);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, other, some_fence, why), SC_DENIED);
    ck_assert_int_eq(
        sc_manifest_import_progress(manifest, sc_slice_str("cursor"), sc_slice_str("mark"), why),
        SC_OK);
    /* Repeated, it changes nothing, the fence least of all. */
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, slots, later_fence, why), SC_OK);
    ck_assert(importing() && cursor.size == 6 && slot_at(150).fence.file == 7);
    ck_assert_int_eq(sc_manifest_import_drop(manifest, later_fence, why), SC_OK);
    reload();
    ck_assert(!importing());
    ck_assert(slot_at(150).state == SC_MANIFEST_FENCED && slot_at(150).fence.file == 9);
    set_range(slots, 90, 110);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 78, slots, some_fence, why), SC_DENIED);
    ck_assert_ptr_nonnull(strstr(why, "slot 90"));
    ck_assert_int_eq(slot_at(100).state, SC_MANIFEST_FENCED);
}
END_TEST

START_TEST(slots_leave_and_are_owned_until_they_are_gone)
{
    uint8_t slots[SC_SLOT_COUNT / 8];
    grant_range(1, 0, 99);
    set_range(slots, 50, 100);
    ck_assert_int_eq(sc_manifest_export_begin(manifest, 5, slots, sc_slice_str("m"), why),
                     SC_DENIED);
    ck_assert(!exporting() && slot_at(50).state == SC_MANIFEST_OWNED);
    set_range(slots, 50, 99);
    ck_assert_int_eq(sc_manifest_export_begin(manifest, 5, slots, sc_slice_str("m"), why), SC_OK);
    reload();
    ck_assert(exporting() && move == 5 && mark.size == 1);
    ck_assert(slot_at(50).state == SC_MANIFEST_LEAVING && slot_at(49).state == SC_MANIFEST_OWNED);
    grant_range(2, 0, 99);
    ck_assert(exporting() && slot_at(50).state == SC_MANIFEST_LEAVING);
    set_range(slots, 40, 59);
    ck_assert_int_eq(sc_manifest_export_begin(manifest, 6, slots, sc_slice_str("mm"), why), SC_OK);
    reload();
    ck_assert(exporting() && move == 6 && mark.size == 2);
    ck_assert(slot_at(40).state == SC_MANIFEST_LEAVING && slot_at(60).state == SC_MANIFEST_OWNED);
    ck_assert_int_eq(sc_manifest_export_end(manifest, why), SC_OK);
    reload();
    ck_assert(!exporting() && mark.size == 0);
    assert_states(0, 99, SC_MANIFEST_OWNED, SC_MANIFEST_NONE);

    ck_assert_int_eq(sc_manifest_export_begin(manifest, 7, slots, sc_slice_str("m"), why), SC_OK);
    grant_range(3, 0, 39);
    reload();
    ck_assert(!exporting());
    ck_assert(slot_at(40).state == SC_MANIFEST_FENCED && slot_at(40).fence.file == 7);
}
END_TEST

START_TEST(a_long_cursor_is_kept_whole)
{
    static uint8_t bytes[SC_MANIFEST_CURSOR_MAX];
    uint8_t slots[SC_SLOT_COUNT / 8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 31);
    }
    set_range(slots, 0, SC_SLOT_COUNT - 1);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 1, slots, no_fence, why), SC_OK);
    ck_assert_int_eq(sc_manifest_import_progress(manifest, sc_slice(bytes, sizeof bytes),
                                                 sc_slice(bytes, SC_MANIFEST_MARK_MAX), why),
                     SC_OK);
    reload();
    ck_assert(importing());
    ck_assert(sc_slice_equal(sc_buf_slice(&cursor), sc_slice(bytes, sizeof bytes)));
    ck_assert(sc_slice_equal(sc_buf_slice(&mark), sc_slice(bytes, SC_MANIFEST_MARK_MAX)));
}
END_TEST

/* Each change of slots fails at every system call: then nothing has changed. */
START_TEST(failed_moves_change_nothing)
{
    uint8_t mine[SC_SLOT_COUNT / 8];
    uint8_t slots[SC_SLOT_COUNT / 8];
    grant_range(1, 0, 99);
    set_range(mine, 0, 9);
    set_range(slots, 100, 199);
    for (uint64_t call = 1; call <= 4; call++) {
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, slots, some_fence, why), SC_IO);
        ck_assert(!importing());
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_export_begin(manifest, 5, mine, sc_slice_str("m"), why),
                         SC_IO);
        ck_assert(!exporting());
    }
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_int_eq(sc_manifest_import_begin(manifest, 77, slots, some_fence, why), SC_OK);
    ck_assert_int_eq(sc_manifest_export_begin(manifest, 5, mine, sc_slice_str("m"), why), SC_OK);
    for (uint64_t call = 1; call <= 4; call++) {
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_import_progress(manifest, sc_slice_str("cursor"),
                                                     sc_slice_str("mark"), why),
                         SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(ready_at("the end", 9), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_import_drop(manifest, some_fence, why), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_export_end(manifest, why), SC_IO);
        ck_assert(importing() && !ready && cursor.size == 0);
        ck_assert(exporting() && slot_at(5).state == SC_MANIFEST_LEAVING);
        ck_assert_uint_eq(sc_manifest_floor(manifest), 0);
    }
    (void)sc_io_fault(0, 0, 0, false);
    ck_assert_int_eq(sc_manifest_flush(manifest, why), SC_OK);
    reload();
    ck_assert(importing() && !ready && cursor.size == 0 && exporting());
}
END_TEST

START_TEST(failed_write_changes_nothing)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {1};
    struct sc_manifest_identity identity;
    for (uint64_t call = 1; call <= 4; call++) {
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_grant(manifest, 7, 70, owned, no_fence, why), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_add_file(manifest, 1, 11, why), SC_IO);
        sc_manifest_identity(manifest, &identity);
        ck_assert(!identity.adopted && identity.term == 0);
        ck_assert_int_eq(slot_at(0).state, SC_MANIFEST_NONE);
        ck_assert_uint_eq(sc_manifest_files(manifest), 0);
        (void)sc_io_fault(0, 0, 0, false);
        reload();
    }
}
END_TEST

START_TEST(file_that_may_be_listed_stays_listed)
{
    uint64_t number = sc_manifest_next_number(manifest);
    (void)sc_io_fault(SC_IO_SYNC, 3, EIO, true); /* of the directory, after both renames */
    ck_assert_int_eq(sc_manifest_add_file(manifest, number, 11, why), SC_UNKNOWN);
    ck_assert_uint_eq(sc_manifest_files(manifest), 1);
    reload();
    ck_assert_uint_eq(sc_manifest_files(manifest), 1);
}
END_TEST

START_TEST(failure_behind_the_copy_leaves_the_manifest_as_it_was)
{
    uint64_t number = sc_manifest_next_number(manifest);
    for (uint64_t call = 1; call <= 2; call++) { /* of the copy, and of the file itself */
        (void)sc_io_fault(SC_IO_SYNC, call, EIO, true);
        ck_assert_int_eq(sc_manifest_add_file(manifest, number, 11, why), SC_IO);
        ck_assert_uint_eq(sc_manifest_files(manifest), 0);
        reload();
        ck_assert_uint_eq(sc_manifest_files(manifest), 0);
    }
}
END_TEST

START_TEST(missing_manifest_is_told_apart)
{
    bool damaged;
    struct sc_manifest *other;
    char path[300];
    (void)snprintf(path, sizeof path, "%s/MANIFEST", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(sc_manifest_load(&files, &other, &damaged, why), SC_NOTFOUND);
    file_write(path, "", 0);
    ck_assert_int_eq(sc_manifest_load(&files, &other, &damaged, why), SC_CORRUPT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("manifest");
    TCase *tcase = tcase_create("manifest");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, new_manifest_lists_nothing);
    tcase_add_test(tcase, files_and_voids_are_kept);
    tcase_add_test(tcase, grants_are_kept_slot_by_slot);
    tcase_add_test(tcase, what_was_never_here_cannot_be_granted);
    tcase_add_test(tcase, a_first_grant_of_nothing_is_one_too);
    tcase_add_test(tcase, an_epoch_in_which_nothing_changed_costs_no_write);
    tcase_add_test(tcase, slots_arrive_step_by_step);
    tcase_add_test(tcase, one_move_brings_slots_at_a_time);
    tcase_add_test(tcase, slots_leave_and_are_owned_until_they_are_gone);
    tcase_add_test(tcase, a_long_cursor_is_kept_whole);
    tcase_add_test(tcase, failed_moves_change_nothing);
    tcase_add_test(tcase, failed_write_changes_nothing);
    tcase_add_test(tcase, file_that_may_be_listed_stays_listed);
    tcase_add_test(tcase, failure_behind_the_copy_leaves_the_manifest_as_it_was);
    tcase_add_test(tcase, missing_manifest_is_told_apart);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
