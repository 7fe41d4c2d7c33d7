/*
 * What merging costs those who read and write beside it: gets and puts of one thread, with merges
 * standing still and going on in turns, and the time that merges hold the lock. Then how large a
 * store gets that is overwritten ten times.
 *
 *   bench_merge [directory [keys [MiB a second [turns]]]]
 */
#include "common/clock.h"
#include "shard/bitcask.h"
#include "shard/merge.h"

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VALUE_SIZE 1000u
#define TURN_MS 2000u
#define TIMES_MAX ((size_t)8 << 20)
#define FILE_SIZE (UINT64_C(64) << 20)

struct times {
    uint32_t *ns;
    size_t count;
};

static struct sc_bitcask *store;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool stopping, merging;
static uint64_t rate;
static struct times held; /* by merges */
static uint64_t held_since;

static void need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_merge: %s failed\n", what);
        exit(EXIT_FAILURE);
    }
}

static void note(struct times *times, uint64_t ns)
{
    if (times->count < TIMES_MAX) {
        times->ns[times->count++] = (uint32_t)(ns < UINT32_MAX ? ns : UINT32_MAX);
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorted: the time that so many of 1,000 stay below, in microseconds. */
static double us_of(const struct times *times, size_t part)
{
    size_t at = (times->count - 1) * part / 1000;
    return times->ns[at] / 1e3;
}

static void print_times(const char *name, struct times *times)
{
    if (times->count == 0) {
        return;
    }
    qsort(times->ns, times->count, sizeof *times->ns, compare);
    printf("%-20s %9zu   p50 %8.1f   p99 %8.1f   p99.9 %8.1f   max %9.1f us\n", name, times->count,
           us_of(times, 500), us_of(times, 990), us_of(times, 999), us_of(times, 1000));
}

/* ---- The merge's side ---- */

static void host_lock(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&lock);
    held_since = sc_clock_mono_ns();
}

static void host_unlock(void *arg)
{
    (void)arg;
    note(&held, sc_clock_mono_ns() - held_since);
    (void)pthread_mutex_unlock(&lock);
}

static bool host_sync(void *arg)
{
    (void)arg;
    (void)pthread_mutex_lock(&lock);
    bool good = sc_bitcask_commit(store, true) == SC_OK;
    (void)pthread_mutex_unlock(&lock);
    return good;
}

static void pause_ns(uint64_t ns)
{
    struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
    (void)nanosleep(&pause, NULL);
}

static bool host_proceed(void *arg, uint64_t bytes)
{
    (void)arg;
    if (rate > 0) {
        pause_ns(bytes * 1000000000 / rate);
    }
    while (!atomic_load(&merging) && !atomic_load(&stopping)) {
        pause_ns(1000000);
    }
    return !atomic_load(&stopping);
}

static void *merge_thread(void *arg)
{
    const struct sc_merge_host host = {host_lock, host_unlock, host_sync, host_proceed, NULL};
    char why[SC_WHY_SIZE];
    while (!atomic_load(&stopping)) {
        if (!atomic_load(&merging) || sc_merge_run(arg, &host, why) == SC_NOTFOUND) {
            pause_ns(5000000);
        }
    }
    return NULL;
}

/* ---- The side of the traffic ---- */

static void put(uint64_t number, struct times *times)
{
    static uint8_t value[VALUE_SIZE];
    char text[32];
    struct sc_slice key = {text, (size_t)snprintf(text, sizeof text, "key-%012" PRIu64, number)};
    const struct sc_bitcask_write options = {0};
    sc_bitcask_position position;
    uint64_t version;
    char why[SC_WHY_SIZE];
    uint64_t start = sc_clock_mono_ns();
    (void)pthread_mutex_lock(&lock);
    need(sc_bitcask_put(store, key, sc_slot_hash(key), sc_slice(value, sizeof value), &options,
                        &version, &position, why) == SC_OK &&
             sc_bitcask_commit(store, false) == SC_OK,
         "put");
    (void)pthread_mutex_unlock(&lock);
    if (times != NULL) {
        note(times, sc_clock_mono_ns() - start);
    }
}

static void get(uint64_t number, struct times *times)
{
    static struct sc_buf value;
    char text[32];
    struct sc_slice key = {text, (size_t)snprintf(text, sizeof text, "key-%012" PRIu64, number)};
    sc_bitcask_position position;
    char why[SC_WHY_SIZE];
    value.size = 0;
    uint64_t start = sc_clock_mono_ns();
    (void)pthread_mutex_lock(&lock);
    need(sc_bitcask_get(store, key, sc_slot_hash(key), &value, &position, why) == SC_OK, "get");
    (void)pthread_mutex_unlock(&lock);
    note(times, sc_clock_mono_ns() - start);
}

static uint64_t most_bytes, live_bytes;

/* One turn: gets and puts alternate, a little pause after each pair. */
static void work(uint64_t keys, struct times *gets, struct times *puts)
{
    static uint64_t random = 1;
    uint64_t until = sc_clock_mono_ms() + TURN_MS;
    while (sc_clock_mono_ms() < until) {
        for (int i = 0; i < 50; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            put((random >> 33) % keys, puts);
            get((random >> 13) % keys, gets);
        }
        pause_ns(1000000);
    }
}

/* Overwrites everything ten times beside merges without a limit; the most that the files ever had
 * is left in most_bytes. */
static void overwrite(uint64_t keys, struct sc_merge *merge)
{
    rate = 0;
    atomic_store(&merging, true);
    for (bool wanted = true; wanted; pause_ns(10000000)) {
        (void)pthread_mutex_lock(&lock);
        wanted = sc_merge_wanted(merge);
        (void)pthread_mutex_unlock(&lock);
    }
    most_bytes = 0;
    for (uint64_t i = 0; i < 10 * keys; i++) {
        put(i * 2654435761 % keys, NULL);
        if (i % 64 == 0) {
            struct sc_bitcask_stats stats;
            (void)pthread_mutex_lock(&lock);
            sc_bitcask_stats(store, &stats);
            (void)pthread_mutex_unlock(&lock);
            most_bytes = stats.file_bytes > most_bytes ? stats.file_bytes : most_bytes;
            live_bytes = stats.live_bytes;
            pause_ns(1000000);
        }
    }
}

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    need(dir != NULL, "opendir");
    while ((entry = readdir(dir)) != NULL) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
    (void)rmdir(path);
}

int main(int argc, char **argv)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/bench-merge-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 200000;
    rate = (argc > 3 ? strtoull(argv[3], NULL, 10) : 32) << 20;
    int turns = argc > 4 ? atoi(argv[4]) : 10;
    struct times gets[2] = {0};
    struct times puts[2] = {0};
    struct sc_bitcask_options options = {
        .file_size_max = FILE_SIZE, .value_max = 1 << 20, .sync_ms = SC_BITCASK_SYNC_NEVER};
    char why[SC_WHY_SIZE];
    need(mkdtemp(path) != NULL && sc_bitcask_open(path, &options, NULL, NULL, &store, why) == SC_OK,
         "open");
    for (int i = 0; i < 2; i++) {
        gets[i].ns = sc_alloc(TIMES_MAX * sizeof *gets[i].ns);
        puts[i].ns = sc_alloc(TIMES_MAX * sizeof *puts[i].ns);
    }
    held.ns = sc_alloc(TIMES_MAX * sizeof *held.ns);
    for (uint64_t i = 0; i < 3 * keys / 2; i++) {
        put(i % keys, NULL);
    }
    struct sc_merge *merge = sc_merge_alloc(store);
    pthread_t thread;
    need(pthread_create(&thread, NULL, merge_thread, merge) == 0, "a thread");
    for (int i = 0; i < turns; i++) {
        atomic_store(&merging, i % 2 == 1);
        work(keys, &gets[i % 2], &puts[i % 2]);
    }
    overwrite(keys, merge);
    atomic_store(&stopping, true);
    (void)pthread_join(thread, NULL);
    print_times("get, no merge", &gets[0]);
    print_times("get beside a merge", &gets[1]);
    print_times("put, no merge", &puts[0]);
    print_times("put beside a merge", &puts[1]);
    print_times("lock held by merges", &held);
    struct sc_merge_figures figures;
    sc_merge_figures(merge, &figures);
    printf("%" PRIu64 " merges read %" PRIu64 " MiB, wrote %" PRIu64 ", reclaimed %" PRIu64 "\n",
           figures.merges, figures.read_bytes >> 20, figures.written_bytes >> 20,
           figures.reclaimed_bytes >> 20);
    printf("overwritten ten times: live %" PRIu64 " MiB, at most %" PRIu64
           " MiB in files of %" PRIu64 "\n",
           live_bytes >> 20, most_bytes >> 20, FILE_SIZE >> 20);
    sc_merge_free(merge);
    (void)sc_bitcask_close(store);
    remove_dir(path);
    return EXIT_SUCCESS;
}
