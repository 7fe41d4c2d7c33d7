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
    ck_assert(!sc_manifest_has_fences(manifest));
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

START_TEST(grants_are_kept_slot_by_slot)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {0};
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot += 3) {
        owned[slot / 8] |= (uint8_t)(1 << slot % 8);
    }
    ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_OK);
    ck_assert_int_eq(sc_manifest_grant(manifest, 7, 70, owned, why), SC_OK);
    memset(owned, 0xff, sizeof owned / 2);
    ck_assert_int_eq(sc_manifest_grant(manifest, 7, 71, owned, why), SC_OK);
    reload();
    for (uint32_t slot = 0; slot < SC_SLOT_COUNT; slot++) {
        struct sc_manifest_slot state;
        sc_manifest_slot(manifest, slot, &state);
        bool expected = slot < SC_SLOT_COUNT / 2 || slot % 3 == 0;
        ck_assert_int_eq(state.state, expected ? SC_MANIFEST_OWNED : SC_MANIFEST_NONE);
        ck_assert_uint_eq(state.epoch, !expected ? 0 : slot % 3 == 0 ? 70 : 71);
    }
}
END_TEST

START_TEST(failed_write_changes_nothing)
{
    uint8_t owned[SC_SLOT_COUNT / 8] = {1};
    struct sc_manifest_identity identity;
    struct sc_manifest_slot slot;
    for (uint64_t call = 1; call <= 4; call++) {
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_adopt(manifest, cluster, 4, why), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_grant(manifest, 7, 70, owned, why), SC_IO);
        (void)sc_io_fault(SC_IO_ANY, call, EIO, true);
        ck_assert_int_eq(sc_manifest_add_file(manifest, 1, 11, why), SC_IO);
        sc_manifest_identity(manifest, &identity);
        sc_manifest_slot(manifest, 0, &slot);
        ck_assert(!identity.adopted && identity.term == 0);
        ck_assert_int_eq(slot.state, SC_MANIFEST_NONE);
        ck_assert_uint_eq(sc_manifest_files(manifest), 0);
        (void)sc_io_fault(0, 0, 0, false);
        reload();
    }
}
END_TEST

START_TEST(file_that_may_be_listed_stays_listed)
{
    uint64_t number = sc_manifest_next_number(manifest);
    (void)sc_io_fault(SC_IO_SYNC, 2, EIO, true); /* that of the directory, after the rename */
    ck_assert_int_eq(sc_manifest_add_file(manifest, number, 11, why), SC_UNKNOWN);
    ck_assert_uint_eq(sc_manifest_files(manifest), 1);
    reload();
    ck_assert_uint_eq(sc_manifest_files(manifest), 1);
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
    tcase_add_test(tcase, failed_write_changes_nothing);
    tcase_add_test(tcase, file_that_may_be_listed_stays_listed);
    tcase_add_test(tcase, missing_manifest_is_told_apart);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
