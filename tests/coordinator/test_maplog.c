#include "coordinator/maplog.h"
#include "tests/check_main.h"

#include "common/bytes.h"
#include "common/failpoint.h"
#include "common/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

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

static struct sc_buf read_file(const char *name)
{
    struct sc_buf bytes = {0};
    int fd = open(name, O_RDONLY);
    ck_assert_msg(fd >= 0, "%s", name);
    ssize_t got = read(fd, sc_buf_reserve(&bytes, 65536), 65536);
    ck_assert_int_gt(got, 0);
    bytes.size = (size_t)got;
    close(fd);
    return bytes;
}

static struct sc_change term(uint64_t number)
{
    return (struct sc_change){.kind = SC_CHANGE_TERM, .term = number};
}

static struct sc_change adopted(uint32_t id)
{
    return (struct sc_change){.kind = SC_CHANGE_ADOPTED, .shard_id = id};
}

static enum sc_status append(struct sc_maplog *log, struct sc_change change)
{
    return sc_maplog_append(log, &change, why);
}

static struct sc_maplog *create_log(void)
{
    const char *urls[] = {"ipc:///a", "ipc:///b"};
    struct sc_maplog *log = open_log();
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 2, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_map(log, &cluster, why), SC_OK);
    return log;
}

/* A log with a map, a term and two adoptions; returns its bytes. */
static struct sc_buf write_sample(void)
{
    struct sc_maplog *log = create_log();
    ck_assert_int_eq(append(log, term(5)), SC_OK);
    ck_assert_int_eq(append(log, adopted(2)), SC_OK);
    ck_assert_int_eq(append(log, adopted(1)), SC_OK);
    sc_maplog_close(log);
    return read_file(path);
}

static void put_entry(struct sc_buf *out, uint32_t kind, struct sc_slice payload)
{
    uint8_t *entry = sc_buf_reserve(out, 16 + payload.size);
    sc_le32_put(entry + 8, (uint32_t)payload.size);
    sc_le32_put(entry + 12, kind);
    memcpy(entry + 16, payload.data, payload.size);
    sc_le64_put(entry, XXH3_64bits(entry + 8, 8 + payload.size));
    out->size += 16 + payload.size;
}

/* The changes of a fleet's life; the map that comes of the first `count`. */
static const struct sc_change *life(size_t *count)
{
    static struct sc_change changes[] = {
        {.kind = SC_CHANGE_TERM, .term = 5},
        {.kind = SC_CHANGE_SHARD_ADDED, .shard_id = 3, .url = "ipc:///c", .weight = 150},
        {.kind = SC_CHANGE_ADOPTED, .shard_id = 3},
        {.kind = SC_CHANGE_STEERING,
         .steering = {.balancing = true, .paused = true, .bytes_per_second = 77}},
        {.kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 3},
        {.kind = SC_CHANGE_MOVED, .move = 1, .epoch = 2},
        {.kind = SC_CHANGE_ENDED, .move = 1},
        {.kind = SC_CHANGE_SHARD_WEIGHT, .shard_id = 1, .weight = 1000000},
        {.kind = SC_CHANGE_BATCH, .move = 2, .from = 2, .to = 3},
        {.kind = SC_CHANGE_SHARD_STATE, .shard_id = 2, .state = SC_CLUSTER_LEAVING},
        {.kind = SC_CHANGE_ENDED, .move = 2},
        {.kind = SC_CHANGE_BATCH, .move = 3, .from = 2, .to = 1},
        {.kind = SC_CHANGE_MOVED, .move = 3, .epoch = 3},
        {.kind = SC_CHANGE_ENDED, .move = 3},
        {.kind = SC_CHANGE_SHARD_REMOVED, .shard_id = 2},
        {.kind = SC_CHANGE_BATCH, .move = 4, .from = 1, .to = 3},
    };
    for (uint32_t slot = 7; slot < 200; slot += slot % 5) {
        sc_slotset_add(&changes[4].slots, slot);
    }
    sc_slotset_add(&changes[8].slots, SC_SLOT_COUNT - 1);
    for (uint32_t slot = SC_SLOT_COUNT / 2; slot < SC_SLOT_COUNT; slot++) {
        sc_slotset_add(&changes[11].slots, slot);
    }
    sc_slotset_add(&changes[15].slots, SC_SLOT_COUNT - 1);
    *count = sizeof changes / sizeof *changes;
    return changes;
}

static struct sc_buf encode(const struct sc_cluster *of)
{
    struct sc_buf encoded = {0};
    sc_cluster_encode(of, &encoded);
    return encoded;
}

static void assert_same_map(const struct sc_cluster *a, const struct sc_cluster *b)
{
    struct sc_buf left = encode(a);
    struct sc_buf right = encode(b);
    ck_assert_uint_eq(left.size, right.size);
    ck_assert_mem_eq(left.data, right.data, left.size);
    sc_buf_fini(&left);
    sc_buf_fini(&right);
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
            ck_assert_int_eq(append(log, term(9)), SC_OK);
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
    while (bytes.size < 100000) {
        put_entry(&bytes, SC_CHANGE_SHARD_STATE, sc_slice("\x92\x01\x00", 3));
    }
    write_file(bytes.data, bytes.size);
    struct stat before;
    struct stat after;
    ck_assert_int_eq(stat(path, &before), 0);
    struct sc_maplog *log = open_log();
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_int_lt(after.st_size, before.st_size / 10);
    ck_assert_int_eq(append(log, term(6)), SC_OK);
    sc_maplog_close(log);
    log = open_log();
    ck_assert_uint_eq(cluster.term, 6);
    ck_assert_uint_eq(cluster.shard_count, 2);
    ck_assert(cluster.shards[0].adopted);
    sc_maplog_close(log);
    sc_buf_fini(&bytes);
}
END_TEST

START_TEST(a_log_of_version_0_1_is_read_and_made_one_of_this_version)
{
    struct sc_buf golden = read_file(GOLDEN "/map-1.log");
    write_file(golden.data, golden.size);
    struct sc_maplog *log = open_log();
    ck_assert_mem_eq(cluster.id, golden.data + 35, sizeof cluster.id);
    ck_assert_uint_eq(cluster.term, 2);
    ck_assert_uint_eq(cluster.epoch, 1);
    ck_assert_uint_eq(cluster.shard_count, 3);
    ck_assert(cluster.shards[0].adopted && cluster.shards[1].adopted && !cluster.shards[2].adopted);
    ck_assert_str_eq(cluster.shards[2].url, "tcp://127.0.0.1:7999");
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(cluster.shards[i].weight, SC_WEIGHT_DEFAULT);
        ck_assert_int_eq(cluster.shards[i].state, SC_CLUSTER_UP);
        ck_assert_uint_ge(cluster.shards[i].slots, SC_SLOT_COUNT / 3);
    }
    ck_assert(!cluster.steering.balancing);
    ck_assert_int_eq(append(log, term(3)), SC_OK);
    sc_maplog_close(log);
    struct sc_buf now = read_file(path);
    ck_assert_uint_eq(sc_le32_get(now.data + 8), 2);
    log = open_log();
    ck_assert_uint_eq(cluster.term, 3);
    ck_assert_uint_eq(cluster.shard_count, 3);
    sc_maplog_close(log);
    sc_buf_fini(&now);
    sc_buf_fini(&golden);
}
END_TEST

START_TEST(a_fleets_life_is_there_after_reopening_anywhere)
{
    size_t count = 0;
    const struct sc_change *changes = life(&count);
    sc_maplog_close(create_log());
    struct sc_cluster expected = {0};
    sc_cluster_copy(&cluster, &expected);
    for (size_t i = 0; i < count; i++) {
        struct sc_maplog *log = open_log();
        assert_same_map(&cluster, &expected);
        ck_assert_msg(append(log, changes[i]) == SC_OK, "%zu: %s", i, why);
        ck_assert(sc_change_apply(&changes[i], &expected));
        sc_maplog_close(log);
    }
    struct sc_maplog *log = open_log();
    assert_same_map(&cluster, &expected);
    ck_assert_uint_eq(cluster.shard_count, 2);
    ck_assert_uint_eq(cluster.shards[1].id, 3);
    ck_assert_uint_eq(cluster.shards[0].weight, 1000000);
    ck_assert_uint_eq(cluster.shards[1].weight, 150);
    ck_assert_uint_eq(cluster.owner[7], 3);
    ck_assert_uint_eq(cluster.owner[SC_SLOT_COUNT - 1], 1);
    ck_assert_uint_eq(cluster.batch_count, 1);
    ck_assert_uint_eq(cluster.next_move, 5);
    ck_assert_uint_eq(cluster.steering.bytes_per_second, 77);
    sc_maplog_close(log);
    sc_cluster_fini(&expected);
}
END_TEST

START_TEST(a_change_that_does_not_fit_is_not_recorded)
{
    struct sc_maplog *log = create_log();
    struct sc_change wrong[] = {
        {.kind = SC_CHANGE_ADOPTED, .shard_id = 9},
        {.kind = SC_CHANGE_SHARD_ADDED, .shard_id = 2, .url = "ipc:///c", .weight = 1},
        {.kind = SC_CHANGE_SHARD_ADDED, .shard_id = 3, .url = "ipc:///a", .weight = 1},
        {.kind = SC_CHANGE_SHARD_ADDED, .shard_id = 3, .url = "ipc:///c"},
        {.kind = SC_CHANGE_SHARD_REMOVED, .shard_id = 2},
        {.kind = SC_CHANGE_SHARD_WEIGHT, .shard_id = 9, .weight = 1},
        {.kind = SC_CHANGE_SHARD_WEIGHT, .shard_id = 1, .weight = 0},
        {.kind = SC_CHANGE_SHARD_WEIGHT, .shard_id = 1, .weight = 1000001},
        {.kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 2}, /* no slots */
        {.kind = SC_CHANGE_BATCH, .move = 1, .from = 2, .to = 1, .slots = {{1}}}, /* not its own */
        {.kind = SC_CHANGE_BATCH, .move = 2, .from = 1, .to = 2, .slots = {{1}}},
        {.kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 1, .slots = {{1}}},
        {.kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 3, .slots = {{1}}},
        {.kind = SC_CHANGE_MOVED, .move = 1, .epoch = 2},
        {.kind = SC_CHANGE_ENDED, .move = 1},
        {.kind = SC_CHANGE_TERM, .term = 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(append(log, wrong[i]) == SC_INTERNAL, "%zu", i);
    }
    struct sc_change batch = {
        .kind = SC_CHANGE_BATCH, .move = 1, .from = 1, .to = 2, .slots = {{3}}};
    ck_assert_int_eq(append(log, batch), SC_OK);
    batch.move = 2;
    ck_assert_int_eq(append(log, batch), SC_INTERNAL); /* one at a time */
    ck_assert_int_eq(
        append(log, (struct sc_change){.kind = SC_CHANGE_MOVED, .move = 1, .epoch = 3}),
        SC_INTERNAL);
    ck_assert_int_eq(
        append(log, (struct sc_change){.kind = SC_CHANGE_MOVED, .move = 1, .epoch = 2}), SC_OK);
    ck_assert_int_eq(
        append(log, (struct sc_change){.kind = SC_CHANGE_MOVED, .move = 1, .epoch = 3}),
        SC_INTERNAL);
    sc_maplog_close(log);
    log = open_log();
    ck_assert_uint_eq(cluster.owner[1], 2);
    ck_assert_uint_eq(cluster.epoch, 2);
    sc_maplog_close(log);
}
END_TEST

static void arm(const char *text)
{
    ck_assert_int_eq(setenv("SHARDCASK_FAILPOINT", text, 1), 0);
    sc_failpoint_init();
}

START_TEST(a_write_that_fails_leaves_the_log_as_it_was)
{
    struct sc_maplog *log = create_log();
    arm("maplog_write:1:fail");
    ck_assert_int_eq(append(log, term(6)), SC_IO);
    ck_assert_ptr_nonnull(strstr(why, "map.log"));
    ck_assert_int_eq(append(log, term(7)), SC_OK);
    sc_maplog_close(log);
    log = open_log();
    ck_assert_uint_eq(cluster.term, 7);
    sc_maplog_close(log);
}
END_TEST

START_TEST(after_a_failed_sync_nothing_more_is_taken)
{
    static const char *const points[] = {"maplog_sync:1:fail",
                                         "maplog_write:1:fail,maplog_cut:1:fail"};
    for (size_t i = 0; i < 2; i++) {
        struct sc_maplog *log = i == 0 ? create_log() : open_log();
        uint64_t next = cluster.term + 1;
        arm(points[i]);
        ck_assert_int_eq(append(log, term(next)), SC_UNKNOWN);
        ck_assert_int_eq(append(log, term(next)), SC_IO);
        ck_assert_ptr_nonnull(strstr(why, "restart"));
        sc_maplog_close(log);
    }
}
END_TEST

/* Makes a log so long that it is replaced when it is opened, and is killed meanwhile. */
static void die_replacing(const char *failpoint)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        arm(failpoint);
        sc_maplog_close(open_log());
        _exit(1);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%s was not passed",
                  failpoint);
}

START_TEST(a_log_can_be_replaced_after_a_crash_anywhere)
{
    static const char *const points[] = {"maplog_created", "maplog_rewritten", "maplog_renamed",
                                         "maplog_replaced"};
    size_t count = 0;
    const struct sc_change *changes = life(&count);
    struct sc_maplog *log = create_log();
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(append(log, changes[i]), SC_OK);
    }
    sc_maplog_close(log);
    struct sc_buf grown = read_file(path);
    while (grown.size < 100000) {
        put_entry(&grown, SC_CHANGE_SHARD_STATE, sc_slice("\x92\x01\x00", 3));
    }
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        write_file(grown.data, grown.size);
        die_replacing(points[i]);
        log = open_log();
        ck_assert_uint_eq(cluster.term, 5);
        ck_assert_uint_eq(cluster.batch_count, 1);
        ck_assert_uint_eq(cluster.owner[7], 3);
        sc_maplog_close(log);
    }
    sc_buf_fini(&grown);
}
END_TEST

/* What is asked for while another wish is on its way to the disk does not undo that. */
START_TEST(parts_of_the_steering_that_are_not_meant_stay_as_they_are)
{
    const char *urls[] = {"ipc:///a"};
    struct sc_maplog *log = open_log();
    struct sc_change changes[] = {
        {.kind = SC_CHANGE_STEERING, .steering = {true, true, 7}},
        {.kind = SC_CHANGE_STEERING, .steering = {false, false, 0}, .parts = SC_CHANGE_PAUSED},
        {.kind = SC_CHANGE_STEERING, .steering = {false, true, 0}, .parts = SC_CHANGE_BALANCING},
        {.kind = SC_CHANGE_STEERING, .steering = {true, true, 9}, .parts = SC_CHANGE_RATE},
    };
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 1, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_map(log, &cluster, why), SC_OK);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        sc_maplog_number(log, &changes[i]);
        ck_assert_int_eq(sc_maplog_append(log, &changes[i], why), SC_OK);
    }
    const struct sc_cluster_steering *last = &changes[3].steering;
    ck_assert(!last->balancing && !last->paused && last->bytes_per_second == 9);
    sc_maplog_close(log);
}
END_TEST

/* Two batches that were asked for before one of them was recorded, and both moved at once. */
START_TEST(changes_that_are_under_way_together_are_numbered_as_they_are_recorded)
{
    const char *urls[] = {"ipc:///a", "ipc:///b", "ipc:///c", "ipc:///d"};
    struct sc_maplog *log = open_log();
    struct sc_change changes[] = {
        {.kind = SC_CHANGE_BATCH, .from = 1, .to = 2, .slots = {{1}}},
        {.kind = SC_CHANGE_BATCH, .from = 4, .to = 3},
        {.kind = SC_CHANGE_MOVED, .move = 2},
        {.kind = SC_CHANGE_MOVED, .move = 1},
    };
    sc_slotset_add(&changes[1].slots, SC_SLOT_COUNT - 1);
    ck_assert_int_eq(sc_cluster_create(&cluster, urls, 4, why), SC_OK);
    ck_assert_int_eq(sc_maplog_put_map(log, &cluster, why), SC_OK);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        sc_maplog_number(log, &changes[i]);
        ck_assert_msg(append(log, changes[i]) == SC_OK, "%zu: %s", i, why);
    }
    ck_assert_uint_eq(changes[0].move, 1);
    ck_assert_uint_eq(changes[1].move, 2);
    ck_assert_uint_eq(changes[2].epoch, 2);
    ck_assert_uint_eq(changes[3].epoch, 3);
    sc_maplog_close(log);
}
END_TEST

/* 64 shards that have passed slots to and fro for years. */
START_TEST(a_log_of_a_million_entries_is_read)
{
    struct sc_buf bytes = {0};
    struct sc_buf payload = {0};
    static char names[64][40];
    const char *urls[64];
    struct sc_cluster all;
    for (size_t i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "tcp://10.0.0.%zu:7701", i + 1);
        urls[i] = names[i];
    }
    ck_assert_int_eq(sc_cluster_create(&all, urls, 64, why), SC_OK);
    sc_buf_append(&bytes, "SCMAPLOG\2\0\0\0\0\0\0\0", 16);
    sc_cluster_encode(&all, &payload);
    put_entry(&bytes, 1, sc_buf_slice(&payload));
    struct sc_change change = {.from = 1, .to = 2};
    for (uint32_t slot = 0; slot < 256; slot++) {
        sc_slotset_add(&change.slots, slot);
    }
    for (uint32_t i = 0; i < 1000000; i++) {
        static const enum sc_change_kind kinds[] = {SC_CHANGE_BATCH, SC_CHANGE_MOVED,
                                                    SC_CHANGE_ENDED};
        change.kind = kinds[i % 3];
        change.move = i / 3 + 1;
        change.epoch = change.move + 1;
        change.from = 1 + i / 3 % 2;
        change.to = 3 - change.from;
        payload.size = 0;
        sc_change_encode(&change, &payload);
        put_entry(&bytes, change.kind, sc_buf_slice(&payload));
    }
    write_file(bytes.data, bytes.size);
    struct sc_maplog *log = open_log();
    ck_assert_uint_eq(cluster.next_move, 333335);
    ck_assert_uint_eq(cluster.epoch, 333334);
    ck_assert_uint_eq(cluster.batch_count, 1);
    ck_assert_uint_eq(cluster.owner[0], 2);
    sc_maplog_close(log);
    sc_cluster_fini(&all);
    sc_buf_fini(&payload);
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
    tcase_add_test(tcase, a_log_of_version_0_1_is_read_and_made_one_of_this_version);
    tcase_add_test(tcase, a_fleets_life_is_there_after_reopening_anywhere);
    tcase_add_test(tcase, a_change_that_does_not_fit_is_not_recorded);
    tcase_add_test(tcase, a_write_that_fails_leaves_the_log_as_it_was);
    tcase_add_test(tcase, after_a_failed_sync_nothing_more_is_taken);
    tcase_add_test(tcase, a_log_can_be_replaced_after_a_crash_anywhere);
    tcase_add_test(tcase, changes_that_are_under_way_together_are_numbered_as_they_are_recorded);
    tcase_add_test(tcase, parts_of_the_steering_that_are_not_meant_stay_as_they_are);
    tcase_add_test(tcase, a_log_of_a_million_entries_is_read);
    suite_add_tcase(suite, tcase);
    return sc_check_main(suite);
}
