/*
 * shardcask-engine-bench: what the storage engine does alone, in one thread and without a network.
 *
 * For each number of keys a process of its own fills a new store in a directory that is removed at
 * the end, and measures it: keys in random order, everything in the page cache. See usage().
 */
#include "common/clock.h"
#include "common/version.h"
#include "shard/bitcask.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY_SIZE 16u
#define COUNTS_MAX 8u
#define WRITERS 64u /* that wait for one commit */
#define SYNCED_SECONDS 2.0
#define VALUE_MAX (1u << 20)

/* What is measured: name in JSON, in words, digits behind the point. */
#define MEASURES(X)                                                                    \
    X(PUT_NEW, "put_new_per_s", "put, new key, commits of 64", 0)                      \
    X(PUT_AGAIN, "put_again_per_s", "put, same key again, commits of 64", 0)           \
    X(PUT_SINGLY, "put_singly_per_s", "put, same key again, each committed", 0)        \
    X(GET, "get_per_s", "get", 0)                                                      \
    X(GET_ABSENT, "get_absent_per_s", "get, absent", 0)                                \
    X(DELETE, "delete_per_s", "delete, commits of 64", 0)                              \
    X(SYNCED_1, "put_synced_1_per_s", "put, synced, 1 writer waiting", 0)              \
    X(SYNCED_64, "put_synced_64_per_s", "put, synced, 64 writers waiting", 0)          \
    X(OPEN_HINTS, "open_with_hints_s", "seconds to open with hints", 3)                \
    X(OPEN_DATA, "open_without_hints_s", "seconds to open without hints", 3)           \
    X(KEYDIR, "keydir_bytes_beside_key", "keydir, bytes a key beside the key", 2)      \
    X(RESIDENT, "resident_bytes_beside_key", "process, bytes a key beside the key", 2) \
    X(DISK, "disk_bytes_per_key", "disk after loading, bytes a key", 1)

enum measure {
#define MEASURE_ENUM(id, name, words, digits) id,
    MEASURES(MEASURE_ENUM)
#undef MEASURE_ENUM
        MEASURE_COUNT
};

static const struct {
    const char *name;
    const char *words;
    int digits;
} measures[] = {
#define MEASURE_TEXT(id, name, words, digits) {name, words, digits},
    MEASURES(MEASURE_TEXT)
#undef MEASURE_TEXT
};

struct settings {
    uint64_t counts[COUNTS_MAX];
    size_t count_count;
    uint64_t value_size;
    const char *dir; /* where the directories of the stores are made */
    bool processor_time;
    bool json;
};

/* One store while it is measured. */
struct bench {
    struct sc_bitcask *store;
    char dir[512];
    uint64_t keys;
    bool processor_time; /* instead of the clock's */
    struct sc_buf value;
    double results[MEASURE_COUNT];
};

/* ---- Helpers ---- */

static void check(enum sc_status status, const char *why)
{
    if (status != SC_OK) {
        fprintf(stderr, "shardcask-engine-bench: %s: %s\n", sc_status_str((int)status), why);
        exit(1);
    }
}

static uint64_t now_ns(const struct bench *b)
{
    struct timespec now;
    if (!b->processor_time) {
        return sc_clock_mono_ns();
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double seconds_since(const struct bench *b, uint64_t start_ns)
{
    return (double)(now_ns(b) - start_ns) / 1e9;
}

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

struct key {
    uint64_t words[KEY_SIZE / sizeof(uint64_t)];
};

static struct sc_slice key_of(struct key *key, uint64_t number)
{
    *key = (struct key){{mix(number), mix(~number)}};
    return sc_slice(key, sizeof *key);
}

/* Jumps about in [0, count): a permutation as long as this prime does not divide count. */
static uint64_t scattered(uint64_t i, uint64_t count)
{
    return i * UINT64_C(2654435761) % count;
}

static uint64_t resident(void)
{
    unsigned long long size = 0;
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%llu %llu", &size, &pages) != 2) {
        pages = 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Removes the files whose names end so; "": all, and the directory. */
static void remove_files(const char *path, const char *ending)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t size = strlen(entry->d_name);
        if (size >= strlen(ending) && strcmp(entry->d_name + size - strlen(ending), ending) == 0) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    if (*ending == '\0') {
        (void)rmdir(path);
    }
}

/* ---- Measurements ---- */

static void open_store(struct bench *b, int32_t sync_ms)
{
    char why[SC_WHY_SIZE];
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = VALUE_MAX,
        .sync_ms = sync_ms,
    };
    check(sc_bitcask_open(b->dir, &options, NULL, NULL, &b->store, why), why);
}

static void close_store(struct bench *b)
{
    check(sc_bitcask_close(b->store), "closing the store");
    b->store = NULL;
}

static void commit(struct bench *b)
{
    check(sc_bitcask_commit(b->store, false), "committing");
}

static void put_one(struct bench *b, uint64_t number)
{
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    uint64_t version;
    sc_bitcask_position position;
    struct key room;
    struct sc_slice key = key_of(&room, number);
    check(sc_bitcask_put(b->store, key, sc_slot_hash(key), sc_buf_slice(&b->value), &options,
                         &version, &position, why),
          why);
}

static void measure_puts(struct bench *b, enum measure measure, uint64_t batch)
{
    uint64_t start = now_ns(b);
    for (uint64_t i = 0; i < b->keys; i++) {
        put_one(b, scattered(i, b->keys));
        if ((i + 1) % batch == 0) {
            commit(b);
        }
    }
    commit(b);
    b->results[measure] = (double)b->keys / seconds_since(b, start);
}

static void measure_gets(struct bench *b, enum measure measure, uint64_t first, enum sc_status want)
{
    char why[SC_WHY_SIZE] = "a key was missing, or one came from nowhere";
    struct sc_buf value = {0};
    uint64_t start = now_ns(b);
    for (uint64_t i = 0; i < b->keys; i++) {
        sc_bitcask_position position;
        struct key room;
        struct sc_slice key = key_of(&room, first + scattered(i, b->keys));
        value.size = 0;
        enum sc_status status =
            sc_bitcask_get(b->store, key, sc_slot_hash(key), &value, &position, why);
        if (status != want) {
            check(status == SC_OK ? SC_INTERNAL : status, why);
        }
    }
    b->results[measure] = (double)b->keys / seconds_since(b, start);
    sc_buf_fini(&value);
}

static void measure_deletes(struct bench *b)
{
    static const struct sc_bitcask_write options = {0};
    char why[SC_WHY_SIZE];
    uint64_t start = now_ns(b);
    for (uint64_t i = 0; i < b->keys; i++) {
        sc_bitcask_position position;
        bool existed;
        struct key room;
        struct sc_slice key = key_of(&room, scattered(i, b->keys));
        check(sc_bitcask_del(b->store, key, sc_slot_hash(key), &options, &existed, &position, why),
              why);
        if ((i + 1) % WRITERS == 0) {
            commit(b);
        }
    }
    commit(b);
    b->results[DELETE] = (double)b->keys / seconds_since(b, start);
}

/* Writers that wait for the disk: as many puts as there are writers, then one commit. Always by the
 * clock. */
static void measure_synced(struct bench *b, enum measure measure, uint64_t writers)
{
    uint64_t done = 0;
    uint64_t start = sc_clock_mono_ns();
    while ((double)(sc_clock_mono_ns() - start) / 1e9 < SYNCED_SECONDS) {
        for (uint64_t i = 0; i < writers; i++) {
            put_one(b, scattered(done++, b->keys));
        }
        commit(b);
    }
    b->results[measure] = (double)done * 1e9 / (double)(sc_clock_mono_ns() - start);
}

static void measure_memory(struct bench *b, uint64_t resident_before)
{
    struct sc_bitcask_stats stats;
    sc_bitcask_stats(b->store, &stats);
    double keys = (double)b->keys;
    b->results[KEYDIR] = (double)stats.keydir_bytes / keys - KEY_SIZE;
    b->results[RESIDENT] = (double)(resident() - resident_before) / keys - KEY_SIZE;
    b->results[DISK] = (double)stats.file_bytes / keys;
}

static void measure_open(struct bench *b, enum measure measure)
{
    uint64_t start = now_ns(b);
    open_store(b, SC_BITCASK_SYNC_NEVER);
    b->results[measure] = seconds_since(b, start);
}

static void build_hints(struct bench *b)
{
    uint64_t number;
    while (sc_bitcask_hint_pending(b->store, &number)) {
        enum sc_status status = sc_bitcask_hint_build(b->store, number);
        sc_bitcask_hint_built(b->store, number, status);
        check(status, "building a hint");
    }
}

static void measure_all(struct bench *b)
{
    uint64_t before = resident();
    open_store(b, SC_BITCASK_SYNC_NEVER);
    measure_puts(b, PUT_NEW, WRITERS);
    measure_memory(b, before);
    measure_gets(b, GET, 0, SC_OK);
    measure_gets(b, GET_ABSENT, b->keys, SC_NOTFOUND);
    build_hints(b);
    close_store(b);
    measure_open(b, OPEN_HINTS);
    close_store(b);
    remove_files(b->dir, ".hint");
    measure_open(b, OPEN_DATA);
    measure_puts(b, PUT_AGAIN, WRITERS);
    measure_puts(b, PUT_SINGLY, 1);
    close_store(b);
    open_store(b, SC_BITCASK_SYNC_ALWAYS);
    measure_synced(b, SYNCED_1, 1);
    measure_synced(b, SYNCED_64, WRITERS);
    close_store(b);
    open_store(b, SC_BITCASK_SYNC_NEVER);
    measure_deletes(b);
    close_store(b);
}

/* ---- A process for each number of keys ---- */

static void measure_and_tell(const struct settings *settings, const char *dir, uint64_t keys,
                             int pipe_fd)
{
    struct bench b = {.keys = keys, .processor_time = settings->processor_time};
    (void)snprintf(b.dir, sizeof b.dir, "%s", dir);
    memset(sc_buf_reserve(&b.value, settings->value_size + 1), 'v', settings->value_size);
    b.value.size = settings->value_size;
    measure_all(&b);
    bool told = write(pipe_fd, b.results, sizeof b.results) == (ssize_t)sizeof b.results;
    sc_buf_fini(&b.value);
    exit(told ? 0 : 1);
}

static bool measure_in_a_process(const struct settings *settings, uint64_t keys,
                                 double results[MEASURE_COUNT])
{
    char dir[512];
    int fds[2];
    int length = snprintf(dir, sizeof dir, "%s/engine-bench-XXXXXX", settings->dir);
    if (length < 0 || (size_t)length >= sizeof dir || mkdtemp(dir) == NULL) {
        fprintf(stderr, "shardcask-engine-bench: cannot make a directory in %s: %s\n",
                settings->dir, strerror(errno));
        return false;
    }
    pid_t child = pipe(fds) == 0 ? fork() : -1;
    if (child == 0) {
        (void)close(fds[0]);
        measure_and_tell(settings, dir, keys, fds[1]);
    }
    bool told = false;
    if (child > 0) {
        int status = 1;
        (void)close(fds[1]);
        size_t size = MEASURE_COUNT * sizeof *results;
        told = read(fds[0], results, size) == (ssize_t)size;
        (void)close(fds[0]);
        told = waitpid(child, &status, 0) == child && status == 0 && told;
    } else {
        fprintf(stderr, "shardcask-engine-bench: cannot start a process: %s\n", strerror(errno));
    }
    remove_files(dir, "");
    return told;
}

/* ---- Output ---- */

static void print_table(const struct settings *settings, double results[][MEASURE_COUNT])
{
    printf("engine alone, one thread, keys of %u bytes, values of %" PRIu64 "; per second%s\n",
           KEY_SIZE, settings->value_size, settings->processor_time ? " of processor time" : "");
    printf("%-38s", "keys");
    for (size_t i = 0; i < settings->count_count; i++) {
        printf(" %12" PRIu64, settings->counts[i]);
    }
    printf("\n");
    for (size_t m = 0; m < MEASURE_COUNT; m++) {
        printf("%-38s", measures[m].words);
        for (size_t i = 0; i < settings->count_count; i++) {
            printf(" %12.*f", measures[m].digits, results[i][m]);
        }
        printf("\n");
    }
}

static void print_json(const struct settings *settings, double results[][MEASURE_COUNT])
{
    printf("{\"version\":\"" SC_VERSION "\",\"key_bytes\":%u,\"value_bytes\":%" PRIu64
           ",\"processor_time\":%s,\"results\":[",
           KEY_SIZE, settings->value_size, settings->processor_time ? "true" : "false");
    for (size_t i = 0; i < settings->count_count; i++) {
        printf("%s{\"keys\":%" PRIu64, i > 0 ? "," : "", settings->counts[i]);
        for (size_t m = 0; m < MEASURE_COUNT; m++) {
            printf(",\"%s\":%.*f", measures[m].name, measures[m].digits, results[i][m]);
        }
        printf("}");
    }
    printf("]}\n");
}

/* ---- Command line ---- */

static void usage(FILE *to)
{
    fprintf(
        to,
        "usage: shardcask-engine-bench [--keys N[,N...]] [--value-size BYTES] [--dir DIR]\n"
        "                              [--processor-time] [--json]\n"
        "Measures the storage engine alone, by default with 1000000 and 5000000 keys of\n"
        "16 bytes and values of 100, in a directory made in DIR (default: $TMPDIR or /tmp)\n"
        "and removed at the end. Uses some 600 bytes of disk a key. --processor-time takes all\n"
        "but synced puts by the processor time they need, which other load changes less.\n");
}

static bool parse_number(const char *text, uint64_t most, uint64_t *number, const char **end)
{
    char *stop;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    *number = value;
    *end = stop;
    return stop != text && *text != '-' && errno == 0 && value <= most;
}

static bool parse_counts(struct settings *settings, const char *text)
{
    settings->count_count = 0;
    for (;; text++) {
        uint64_t *count = &settings->counts[settings->count_count];
        if (settings->count_count++ == COUNTS_MAX ||
            !parse_number(text, UINT64_C(1) << 32, count, &text) || *count == 0) {
            return false;
        }
        if (*text != ',') {
            return *text == '\0';
        }
    }
}

/* -1: go on; else the exit status. */
static int parse(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"keys", required_argument, NULL, 'k'},     {"value-size", required_argument, NULL, 'v'},
        {"dir", required_argument, NULL, 'd'},      {"json", no_argument, NULL, 'j'},
        {"processor-time", no_argument, NULL, 'p'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},        {NULL, 0, NULL, 0},
    };
    int option;
    bool right = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        const char *end = "";
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (option == 'V') {
            printf("shardcask-engine-bench " SC_VERSION "\n");
            return 0;
        }
        if (option == 'k') {
            right = right && parse_counts(settings, optarg);
        } else if (option == 'v') {
            right = right && parse_number(optarg, VALUE_MAX, &settings->value_size, &end) &&
                    *end == '\0';
        } else if (option == 'd') {
            settings->dir = optarg;
        } else if (option == 'p') {
            settings->processor_time = true;
        } else if (option == 'j') {
            settings->json = true;
        } else {
            right = false;
        }
    }
    if (!right || optind != argc) {
        usage(stderr);
        return 2;
    }
    return -1;
}

int main(int argc, char **argv)
{
    const char *tmpdir = getenv("TMPDIR");
    struct settings settings = {
        .counts = {1000000, 5000000},
        .count_count = 2,
        .value_size = 100,
        .dir = tmpdir != NULL ? tmpdir : "/tmp",
    };
    double results[COUNTS_MAX][MEASURE_COUNT];
    int status = parse(&settings, argc, argv);
    if (status >= 0) {
        return status;
    }
    for (size_t i = 0; i < settings.count_count; i++) {
        if (!measure_in_a_process(&settings, settings.counts[i], results[i])) {
            return 1;
        }
    }
    (settings.json ? print_json : print_table)(&settings, results);
    return 0;
}
