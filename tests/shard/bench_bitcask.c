/*
 * Measures the store alone, one thread: bench_bitcask [KEYS] [VALUE BYTES] [DIR], by default one
 * million keys of 16 bytes with values of 100, in a temporary directory that is removed.
 */
#include "common/clock.h"
#include "shard/bitcask.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define KEY_SIZE 16u
#define BATCH 64u

struct bench {
    struct sc_bitcask *store;
    const char *dir;
    uint64_t keys;
    struct sc_buf value;
};

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static struct sc_slice key_of(uint64_t number, uint64_t words[2])
{
    words[0] = mix(number);
    words[1] = mix(~number);
    return sc_slice(words, KEY_SIZE);
}

/* A number of [0, count) that jumps about. */
static uint64_t scattered(uint64_t i, uint64_t count)
{
    return i * UINT64_C(2654435761) % count;
}

static void check(enum sc_status status, const char *why)
{
    if (status != SC_OK) {
        fprintf(stderr, "failed: %s: %s\n", sc_status_str(status), why);
        exit(1);
    }
}

/* Processor time of this process, user and system: what a busy machine does not change. */
static double processor_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double start_seconds;

static uint64_t start(void)
{
    start_seconds = processor_seconds();
    return sc_clock_mono_ns();
}

static void report(const char *what, uint64_t count, uint64_t start_ns)
{
    double busy = processor_seconds() - start_seconds;
    double seconds = (double)(sc_clock_mono_ns() - start_ns) / 1e9;
    printf("%-34s %8.3f s  %10.0f /s  %8.3f s of processor\n", what, seconds,
           (double)count / seconds, busy);
    (void)fflush(stdout);
}

static void ignore_event(void *arg, const struct sc_bitcask_event *event)
{
    (void)arg;
    printf("event: %s\n", event->text);
}

static void open_store(struct bench *b, int32_t sync_ms)
{
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = SC_VALUE_MAX_DEFAULT,
        .sync_ms = sync_ms,
    };
    check(sc_bitcask_open(b->dir, &options, ignore_event, NULL, &b->store, why), why);
}

static void put_all(struct bench *b, const char *what, uint64_t count, uint64_t batch)
{
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_write options = {0};
    uint64_t start_ns = start();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t words[2];
        uint64_t version;
        sc_bitcask_position position;
        struct sc_slice key = key_of(scattered(i, b->keys), words);
        check(sc_bitcask_put(b->store, key, sc_slot_hash(key), sc_buf_slice(&b->value), &options,
                             &version, &position, why),
              why);
        if ((i + 1) % batch == 0) {
            check(sc_bitcask_commit(b->store, false), "commit");
        }
    }
    check(sc_bitcask_commit(b->store, false), "commit");
    report(what, count, start_ns);
}

static void get_all(struct bench *b, const char *what)
{
    char why[SC_WHY_SIZE];
    struct sc_buf value = {0};
    uint64_t start_ns = start();
    for (uint64_t i = 0; i < b->keys; i++) {
        uint64_t words[2];
        sc_bitcask_position position;
        struct sc_slice key = key_of(scattered(i, b->keys), words);
        value.size = 0;
        check(sc_bitcask_get(b->store, key, sc_slot_hash(key), &value, &position, why), why);
    }
    report(what, b->keys, start_ns);
    sc_buf_fini(&value);
}

static void delete_all(struct bench *b)
{
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_write options = {0};
    uint64_t start_ns = start();
    for (uint64_t i = 0; i < b->keys; i++) {
        uint64_t words[2];
        bool existed;
        sc_bitcask_position position;
        struct sc_slice key = key_of(scattered(i, b->keys), words);
        check(sc_bitcask_del(b->store, key, sc_slot_hash(key), &options, &existed, &position, why),
              why);
        if ((i + 1) % BATCH == 0) {
            check(sc_bitcask_commit(b->store, false), "commit");
        }
    }
    report("del, never, commits of 64", b->keys, start_ns);
}

/* Removes the files with this ending; "": all, and the directory. */
static void remove_files(const char *dir, const char *ending)
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (*ending == '\0' || (dot != NULL && strcmp(dot, ending) == 0)) {
            (void)unlinkat(dirfd(d), entry->d_name, 0);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    if (*ending == '\0') {
        (void)rmdir(dir);
    }
}

static void measure_open(struct bench *b, const char *what)
{
    uint64_t start_ns = start();
    open_store(b, SC_BITCASK_SYNC_NEVER);
    report(what, b->keys, start_ns);
}

static void build_hints(struct bench *b)
{
    uint64_t number;
    uint64_t start_ns = start();
    while (sc_bitcask_hint_pending(b->store, &number)) {
        sc_bitcask_hint_built(b->store, number, sc_bitcask_hint_build(b->store, number));
    }
    report("hints of sealed files", b->keys, start_ns);
}

static void measure_openings(struct bench *b)
{
    build_hints(b);
    check(sc_bitcask_close(b->store), "close");
    measure_open(b, "open with hints");
    check(sc_bitcask_close(b->store), "close");
    remove_files(b->dir, ".hint");
    measure_open(b, "open without hints");
}

static void run(struct bench *b)
{
    struct sc_bitcask_stats stats;
    open_store(b, SC_BITCASK_SYNC_NEVER);
    put_all(b, "put new, never, commits of 64", b->keys, BATCH);
    get_all(b, "get");
    sc_bitcask_stats(b->store, &stats);
    printf("keydir: %.1f bytes a key, key included\n",
           (double)stats.keydir_bytes / (double)stats.keys);
    measure_openings(b);
    get_all(b, "get after opening");
    put_all(b, "put again, never, commits of 64", b->keys, BATCH);
    put_all(b, "put again, never, commits of 1", b->keys, 1);
    measure_openings(b);
    delete_all(b);
    check(sc_bitcask_close(b->store), "close");
    open_store(b, SC_BITCASK_SYNC_ALWAYS);
    put_all(b, "put, always, commits of 1", 4000, 1);
    put_all(b, "put, always, commits of 64", 200000, BATCH);
    check(sc_bitcask_close(b->store), "close");
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/sc-bench-XXXXXX";
    struct bench b = {
        .dir = argc > 3 ? argv[3] : mkdtemp(dir),
        .keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000,
    };
    size_t size = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    memset(sc_buf_reserve(&b.value, size), 'v', size);
    b.value.size = size;
    printf("%" PRIu64 " keys of %u bytes, values of %zu\n", b.keys, KEY_SIZE, size);
    run(&b);
    remove_files(b.dir, "");
    sc_buf_fini(&b.value);
    return 0;
}
