#include "common/clock.h"
#include "tools/bench_latency.h"
#include "tools/engine_bench.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYNCED_SECONDS 1.0
#define VALUES_SIZE ((size_t)1 << 20) /* values are pieces of so many random bytes */
#define CAUSE_MIN_NS 20000u /* nobody asks why a faster put took so long */

/* One store while it is measured. */
struct bench {
    const struct sc_contender *contender;
    void *store;
    char dir[512];
    uint64_t keys;
    uint64_t operations;
    bool processor_time;
    size_t value_size;
    uint8_t *values; /* random bytes */
    struct sc_engine_bench_result result;
};

/* ---- Keys and values ---- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

struct key {
    uint64_t words[SC_ENGINE_BENCH_KEY_SIZE / sizeof(uint64_t)];
};

static struct sc_slice key_of(struct key *key, uint64_t number)
{
    *key = (struct key){{mix(number), mix(~number)}};
    return sc_slice(key, sizeof *key);
}

static struct sc_slice value_of(const struct bench *b, uint64_t number)
{
    return sc_slice(b->values + number * 8 % VALUES_SIZE, b->value_size);
}

/* Jumps about in [0, count): a permutation as long as this prime does not divide count. */
static uint64_t scattered(uint64_t i, uint64_t count)
{
    return i * UINT64_C(2654435761) % count;
}

/* ---- Time, memory, files ---- */

static uint64_t now_ns(const struct bench *b)
{
    if (!b->processor_time) {
        return sc_clock_mono_ns();
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note(struct bench *b, enum sc_engine_bench_measure measure, double value)
{
    b->result.values[measure] = value;
}

static void note_rate(struct bench *b, enum sc_engine_bench_measure measure, uint64_t count,
                      uint64_t start_ns)
{
    note(b, measure, (double)count * 1e9 / (double)(now_ns(b) - start_ns));
}

/* Memory of this process that is not the page cache's. */
static uint64_t anonymous_memory(void)
{
    unsigned long long kib = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL &&
           sscanf(line, "RssAnon: %llu", &kib) != 1) {
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kib * 1024;
}

/* Calls `visit` for each file whose name ends so. */
static void each_file(const char *path, const char *ending,
                      void (*visit)(void *arg, int dir_fd, const char *name), void *arg)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (size >= strlen(ending) && strcmp(entry->d_name + size - strlen(ending), ending) == 0) {
            visit(arg, dirfd(dir), entry->d_name);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static void remove_file(void *arg, int dir_fd, const char *name)
{
    (void)arg;
    (void)unlinkat(dir_fd, name, 0);
}

static void add_size(void *arg, int dir_fd, const char *name)
{
    uint64_t *total = arg;
    struct stat stat;
    if (fstatat(dir_fd, name, &stat, 0) == 0 && S_ISREG(stat.st_mode)) {
        *total += (uint64_t)stat.st_blocks * 512;
    }
}

/* ---- One kind of operation ---- */

static void put_one(const struct bench *b, uint64_t number)
{
    struct key room;
    b->contender->put(b->store, key_of(&room, number), value_of(b, number));
}

/* Tells the engine of the keys of a group that begins with operation `i` of `end`. */
static void announce(const struct bench *b, uint64_t i, uint64_t end, bool values)
{
    struct key rooms[SC_ENGINE_BENCH_GROUP];
    struct sc_slice keys[SC_ENGINE_BENCH_GROUP];
    uint64_t count = end - i < SC_ENGINE_BENCH_GROUP ? end - i : SC_ENGINE_BENCH_GROUP;
    if (b->contender->ahead == NULL) {
        return;
    }
    for (uint64_t k = 0; k < count; k++) {
        keys[k] = key_of(&rooms[k], scattered(i + k, b->keys));
    }
    b->contender->ahead(b->store, keys, (size_t)count, values);
}

static void commit(const struct bench *b, bool sync)
{
    b->contender->commit(b->store, sync);
}

static void open_store(struct bench *b, bool sync)
{
    const struct sc_contender_plan plan = {b->keys, SC_ENGINE_BENCH_KEY_SIZE + b->value_size, sync};
    b->store = b->contender->open(b->dir, &plan);
}

static void close_store(struct bench *b)
{
    b->contender->close(b->store);
    b->store = NULL;
}

static void measure_puts(struct bench *b, enum sc_engine_bench_measure measure, uint64_t group)
{
    uint64_t start = now_ns(b);
    for (uint64_t i = 0; i < b->operations; i++) {
        if (group > 1 && i % group == 0) {
            announce(b, i, b->operations, false);
        }
        put_one(b, scattered(i, b->keys));
        if ((i + 1) % group == 0) {
            commit(b, false);
        }
    }
    commit(b, false);
    note_rate(b, measure, b->operations, start);
}

static void get_all(const struct bench *b, uint64_t first, uint64_t group, bool want)
{
    struct sc_buf value = {0};
    for (uint64_t i = 0; i < b->operations; i++) {
        if (group > 1 && i % group == 0) {
            announce(b, i, b->operations, true);
        }
        struct key room;
        value.size = 0;
        bool found =
            b->contender->get(b->store, key_of(&room, first + scattered(i, b->keys)), &value);
        sc_contender_check(found == want && value.size == (want ? b->value_size : 0), b->contender,
                           "a key was missing, or one came from nowhere");
    }
    sc_buf_fini(&value);
}

static void measure_gets(struct bench *b, enum sc_engine_bench_measure measure, uint64_t first,
                         uint64_t group, bool want)
{
    uint64_t start = now_ns(b);
    get_all(b, first, group, want);
    note_rate(b, measure, b->operations, start);
}

/* Deletes keys from number `from` to before `to` of the scattered ones. */
static void measure_deletes(struct bench *b, enum sc_engine_bench_measure measure, uint64_t from,
                            uint64_t to, uint64_t group)
{
    uint64_t start = now_ns(b);
    for (uint64_t i = from; i < to; i++) {
        struct key room;
        if (group > 1 && (i - from) % group == 0) {
            announce(b, i, to, false);
        }
        b->contender->del(b->store, key_of(&room, scattered(i, b->keys)));
        if ((i + 1) % group == 0) {
            commit(b, false);
        }
    }
    commit(b, false);
    note_rate(b, measure, to - from, start);
}

/* Writers that wait for the disk: as many puts as there are writers, then one commit. Always by the
 * clock. */
static void measure_synced(struct bench *b, enum sc_engine_bench_measure measure, uint64_t writers)
{
    uint64_t done = 0;
    uint64_t start = sc_clock_mono_ns();
    while ((double)(sc_clock_mono_ns() - start) / 1e9 < SYNCED_SECONDS) {
        if (writers > 1) {
            announce(b, done, done + writers, false);
        }
        for (uint64_t i = 0; i < writers; i++) {
            put_one(b, scattered(done++, b->keys));
        }
        commit(b, true);
    }
    note(b, measure, (double)done * 1e9 / (double)(sc_clock_mono_ns() - start));
}

/* ---- Loading ---- */

/* What tells why a put took long: as it was when the group of the put began. */
struct surroundings {
    struct rusage usage;
    uint64_t files;
};

static struct surroundings look_around(const struct bench *b)
{
    struct surroundings now = {0};
    struct sc_contender_figures figures = {0};
    (void)getrusage(RUSAGE_THREAD, &now.usage);
    if (b->contender->figures != NULL) {
        b->contender->figures(b->store, &figures);
    }
    now.files = figures.files;
    return now;
}

static void explain(struct bench *b, uint64_t number, bool committed,
                    const struct surroundings *before)
{
    struct surroundings after = look_around(b);
    (void)snprintf(b->result.cause, sizeof b->result.cause,
                   "put %llu, %s; in its group of %u: %ld waits, preempted %ld times, %ld page "
                   "faults%s",
                   (unsigned long long)number, committed ? "with its commit" : "before its commit",
                   SC_ENGINE_BENCH_GROUP, after.usage.ru_nvcsw - before->usage.ru_nvcsw,
                   after.usage.ru_nivcsw - before->usage.ru_nivcsw,
                   after.usage.ru_minflt - before->usage.ru_minflt,
                   after.files > before->files ? ", a new file" : "");
}

/* Puts all keys. The last put of a group is charged with the commit. */
static void measure_load(struct bench *b)
{
    struct sc_bench_latency *times = sc_calloc(1, sizeof *times);
    struct surroundings before = look_around(b);
    uint64_t start = now_ns(b);
    uint64_t begun_ns = sc_clock_mono_ns();
    for (uint64_t i = 0; i < b->keys; i++) {
        bool last = (i + 1) % SC_ENGINE_BENCH_GROUP == 0 || i + 1 == b->keys;
        if (i % SC_ENGINE_BENCH_GROUP == 0) {
            announce(b, i, b->keys, false);
        }
        put_one(b, scattered(i, b->keys));
        if (last) {
            commit(b, false);
        }
        uint64_t ended_ns = sc_clock_mono_ns();
        uint64_t worst_ns = times->max_ns;
        sc_bench_latency_record(times, ended_ns - begun_ns);
        begun_ns = ended_ns;
        if (times->max_ns > worst_ns && times->max_ns >= CAUSE_MIN_NS) {
            explain(b, i, last, &before);
            begun_ns = sc_clock_mono_ns();
        }
        if (last) {
            before = look_around(b);
            begun_ns = sc_clock_mono_ns();
        }
    }
    note_rate(b, SC_ENGINE_BENCH_PUT_NEW, b->keys, start);
    note(b, SC_ENGINE_BENCH_PUT_P50, (double)sc_bench_latency_percentile(times, 50) / 1e3);
    note(b, SC_ENGINE_BENCH_PUT_P99, (double)sc_bench_latency_percentile(times, 99) / 1e3);
    note(b, SC_ENGINE_BENCH_PUT_P999, (double)sc_bench_latency_percentile(times, 99.9) / 1e3);
    note(b, SC_ENGINE_BENCH_PUT_MAX, (double)times->max_ns / 1e3);
    free(times);
}

/* ---- All of it ---- */

static void measure_space(struct bench *b, uint64_t memory_before)
{
    uint64_t disk = 0;
    double keys = (double)b->keys;
    struct sc_contender_figures figures = {0};
    note(b, SC_ENGINE_BENCH_MEMORY,
         ((double)anonymous_memory() - (double)memory_before) / keys - SC_ENGINE_BENCH_KEY_SIZE);
    if (b->contender->figures != NULL) {
        b->contender->figures(b->store, &figures);
        note(b, SC_ENGINE_BENCH_INDEX,
             (double)figures.index_bytes / keys - SC_ENGINE_BENCH_KEY_SIZE);
    }
    each_file(b->dir, "", add_size, &disk);
    note(b, SC_ENGINE_BENCH_DISK, (double)disk / keys);
}

static void measure_open(struct bench *b, enum sc_engine_bench_measure measure)
{
    uint64_t start = now_ns(b);
    open_store(b, false);
    note_rate(b, measure, b->keys, start);
}

static void measure_all(struct bench *b)
{
    uint64_t before = anonymous_memory();
    open_store(b, false);
    measure_load(b);
    measure_space(b, before);
    uint64_t start = now_ns(b);
    b->contender->settle(b->store);
    note(b, SC_ENGINE_BENCH_SETTLE, (double)(now_ns(b) - start) / 1e9);
    get_all(b, 0, 1, true);
    measure_gets(b, SC_ENGINE_BENCH_GET, 0, 1, true);
    measure_gets(b, SC_ENGINE_BENCH_GET_64, 0, SC_ENGINE_BENCH_GROUP, true);
    measure_gets(b, SC_ENGINE_BENCH_GET_ABSENT, b->keys, 1, false);
    close_store(b);
    measure_open(b, SC_ENGINE_BENCH_OPEN);
    if (b->contender == &sc_contender_shardcask) {
        close_store(b);
        each_file(b->dir, ".hint", remove_file, NULL);
        measure_open(b, SC_ENGINE_BENCH_OPEN_DATA);
    }
    measure_puts(b, SC_ENGINE_BENCH_PUT_AGAIN, SC_ENGINE_BENCH_GROUP);
    measure_puts(b, SC_ENGINE_BENCH_PUT_SINGLY, 1);
    close_store(b);
    open_store(b, true);
    measure_synced(b, SC_ENGINE_BENCH_SYNCED_1, 1);
    measure_synced(b, SC_ENGINE_BENCH_SYNCED_64, SC_ENGINE_BENCH_GROUP);
    close_store(b);
    open_store(b, false);
    measure_deletes(b, SC_ENGINE_BENCH_DELETE, 0, b->operations / 2, SC_ENGINE_BENCH_GROUP);
    measure_deletes(b, SC_ENGINE_BENCH_DELETE_SINGLY, b->operations / 2, b->operations, 1);
    close_store(b);
}

/* ---- A process of its own ---- */

static void measure_and_tell(struct bench *b, int pipe_fd)
{
    for (size_t m = 0; m < SC_ENGINE_BENCH_MEASURE_COUNT; m++) {
        b->result.values[m] = NAN;
    }
    size_t size = VALUES_SIZE + b->value_size;
    b->values = sc_alloc(size + sizeof(uint64_t));
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t random = mix(i);
        memcpy(b->values + i, &random, sizeof random);
    }
    measure_all(b);
    free(b->values);
    exit(write(pipe_fd, &b->result, sizeof b->result) == (ssize_t)sizeof b->result ? 0 : 1);
}

bool sc_engine_bench_run(const struct sc_engine_bench_settings *settings,
                         const struct sc_contender *contender, uint64_t keys,
                         struct sc_engine_bench_result *result)
{
    struct bench b = {
        .contender = contender,
        .keys = keys,
        .operations = settings->operations < keys ? settings->operations : keys,
        .processor_time = settings->processor_time,
        .value_size = settings->value_size,
    };
    int fds[2];
    int length = snprintf(b.dir, sizeof b.dir, "%s/engine-bench-XXXXXX", settings->dir);
    if (length < 0 || (size_t)length >= sizeof b.dir || mkdtemp(b.dir) == NULL) {
        fprintf(stderr, "shardcask-engine-bench: cannot make a directory in %s: %s\n",
                settings->dir, strerror(errno));
        return false;
    }
    pid_t child = pipe(fds) == 0 ? fork() : -1;
    if (child == 0) {
        (void)close(fds[0]);
        measure_and_tell(&b, fds[1]);
    }
    bool told = false;
    if (child > 0) {
        int status = 1;
        (void)close(fds[1]);
        told = read(fds[0], result, sizeof *result) == (ssize_t)sizeof *result;
        (void)close(fds[0]);
        told = waitpid(child, &status, 0) == child && status == 0 && told;
    } else {
        fprintf(stderr, "shardcask-engine-bench: cannot start a process: %s\n", strerror(errno));
    }
    each_file(b.dir, "", remove_file, NULL);
    (void)rmdir(b.dir);
    return told;
}
