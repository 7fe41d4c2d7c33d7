#include "coordinator/maplog.h"
#include "tests/check_main.h"

#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char path[128];
static char why[SC_WHY_SIZE];
static struct sc_cluster cluster;

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/sc-maplog-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/map.log", dir);
}

static void remove_dir(void)
{
    static const char *const names[] = {"map.log", "map.log.tmp", "LOCK"};
    for (size_t i = 0; i < 3; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        unlink(name);
    }
    rmdir(dir);
    sc_cluster_fini(&cluster);
}

static struct sc_maplog *open_log(void)
{
    struct sc_maplog *log = NULL;
    sc_cluster_fini(&cluster);
    ck_assert_msg(sc_maplog_open(dir, &cluster, &log, why) == SC_OK, "%s", why);
    return log;
}

/* A log with a map, a term and two adoptions; returns its bytes. */
static struct sc_buf write_sample(void)
{
    const char *urls[] = {"ipc:///a", "ipc:///b"};
    struct sc_maplog *log = open_log();
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 2, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_map(log, &cluster, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_term(log, 5, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_adopted(log, 2, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_adopted(log, 1, why), SC_OK);
    sc_maplog_close(log);
    struct sc_buf bytes = {0};
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, sc_buf_reserve(&bytes, 65536), 65536);
    ck_assert_int_gt(got, 0);
    bytes.size = (size_t)got;
    close(fd);
    return bytes;
}

static void write_file(const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

START_TEST(a_fresh_directory_has_no_cluster)
{
    struct sc_maplog *log = open_log();
    ck_assert_uint_eq(cluster.shard_count, 0);
    sc_maplog_close(log);
}
END_TEST

START_TEST(what_was_put_is_there_after_reopening)
{
    struct sc_buf bytes = write_sample();
    uint8_t id[16];
    memcpy(id, cluster.id, sizeof id);
    struct sc_maplog *log = open_log();
    ck_assert_mem_eq(cluster.id, id, sizeof id);
    ck_assert_uint_eq(cluster.term, 5);
    ck_assert_uint_eq(cluster.shard_count, 2);
    ck_assert(cluster.shards[0].adopted && cluster.shards[1].adopted);
    sc_maplog_close(log);
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(a_second_coordinator_is_refused)
{
    struct sc_maplog *log = open_log();
    struct sc_maplog *second = NULL;
    struct sc_cluster other;
    ck_assert_int_eq(sc_maplog_open(dir, &other, &second, why), SC_BUSY);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(why, dir));
    sc_maplog_close(log);
}
END_TEST

START_TEST(a_log_cut_at_any_byte_keeps_its_whole_entries)
{
    struct sc_buf bytes = write_sample();
    uint64_t last_term = 0;
    for (size_t size = 16; size <= bytes.size; size++) {
        write_file(bytes.data, size);
        struct sc_maplog *log = open_log();
        ck_assert(cluster.shard_count == 0 || cluster.shard_count == 2);
        ck_assert_uint_ge(cluster.term, last_term);
        last_term = cluster.term;
        /* What is put after the cut must be readable. */
        if (cluster.shard_count > 0) {
            ck_assert_int_eq(sc_maplog_put_term(log, 9, why), SC_OK);
            sc_maplog_close(log);
            log = open_log();
            ck_assert_uint_eq(cluster.term, 9);
        }
        sc_maplog_close(log);
    }
    ck_assert_uint_eq(last_term, 5);
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(a_flipped_byte_is_refused_or_cuts_only_the_last_entry)
{
    struct sc_buf bytes = write_sample();
    size_t last_entry = bytes.size - 17;
    for (size_t at = 0; at < bytes.size; at++) {
        struct sc_maplog *log = NULL;
        bytes.data[at] ^= 0x40;
        write_file(bytes.data, bytes.size);
        bytes.data[at] ^= 0x40;
        sc_cluster_fini(&cluster);
        enum sc_status status = sc_maplog_open(dir, &cluster, &log, why);
        if (at < last_entry && !(at >= 12 && at < 16)) {
            ck_assert_msg(status == SC_CORRUPT, "byte %zu: status %d", at, (int)status);
            ck_assert_ptr_nonnull(strstr(why, "map.log"));
        } else {
            ck_assert_int_eq(status, SC_OK);
            ck_assert(cluster.shards[1].adopted);
        }
        sc_maplog_close(log);
    }
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(a_grown_log_is_replaced_by_one_entry)
{
    struct sc_buf bytes = write_sample();
    struct sc_maplog *log = open_log();
    for (uint64_t term = 6; term < 4000; term++) {
        ck_assert_int_eq(sc_maplog_put_term(log, term, why), SC_OK);
    }
    sc_maplog_close(log);
    struct stat before;
    struct stat after;
    ck_assert_int_eq(stat(path, &before), 0);
    log = open_log();
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_int_lt(after.st_size, before.st_size / 10);
    ck_assert_int_eq(sc_maplog_put_term(log, 4000, why), SC_OK);
    sc_maplog_close(log);
    log = open_log();
    ck_assert_uint_eq(cluster.term, 4000);
    ck_assert_uint_eq(cluster.shard_count, 2);
    ck_assert(cluster.shards[0].adopted);
    sc_maplog_close(log);
    sc_buf_fini(&bytes);
}
END_TEST

int main(void)
{
    sc_log_init("test", SC_LOG_ERROR); /* cut tails are the point here: no need to hear of each */
    Suite *suite = suite_create("maplog");
    TCase *tcase = tcase_create("maplog");
    tcase_add_checked_fixture(tcase, make_dir, remove_dir);
    tcase_add_test(tcase, a_fresh_directory_has_no_cluster);
    tcase_add_test(tcase, what_was_put_is_there_after_reopening);
    tcase_add_test(tcase, a_second_coordinator_is_refused);
    tcase_add_test(tcase, a_log_cut_at_any_byte_keeps_its_whole_entries);
    tcase_add_test(tcase, a_flipped_byte_is_refused_or_cuts_only_the_last_entry);
    tcase_add_test(tcase, a_grown_log_is_replaced_by_one_entry);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
