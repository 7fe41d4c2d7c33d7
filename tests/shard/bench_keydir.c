/*
 * Measures the keydir alone: bench_keydir [KEYS...], by default with 1 and 5 million keys of 16
 * bytes, then with 200,000 in one slot. Each measurement is a process of its own, so that resident
 * memory starts from nothing.
 */
#include "shard/keydir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY_SIZE 16u
#define BATCH 16u
#define ONE_SLOT_KEYS 200000u

struct key {
    uint64_t words[KEY_SIZE / sizeof(uint64_t)];
};

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static struct key key_of(uint64_t number)
{
    return (struct key){{mix(number), mix(~number)}};
}

static struct sc_slice slice_of(const struct key *key)
{
    return sc_slice(key, sizeof *key);
}

/* A number of [0, count) that jumps about: a permutation for any count this prime does not divide.
 */
static uint64_t scattered(uint64_t i, uint64_t count)
{
    return i * UINT64_C(2654435761) % count;
}

static struct sc_location location_of(uint64_t number)
{
    return (struct sc_location){(uint32_t)number % 100, 136, number % 1000000 * 8};
}

static uint64_t resident(void)
{
    unsigned long long size = 0;
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%llu %llu", &size, &pages) != 2) {
        perror("/proc/self/statm");
        exit(1);
    }
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Processor time of this process: other load on the machine counts less than by the clock. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void report_rate(const char *what, uint64_t count, uint64_t start_ns)
{
    double seconds = (double)(cpu_ns() - start_ns) / 1e9;
    printf("%-28s %8.2f M/s %8.0f ns each\n", what, (double)count / seconds / 1e6,
           seconds * 1e9 / (double)count);
}

static void report_memory(const char *what, const struct sc_keydir *keydir, uint64_t before)
{
    uint64_t keys = sc_keydir_count(keydir);
    double each = (double)(resident() - before) / (double)keys;
    printf("%-28s %8.2f B beside each key (counted: %.2f)\n", what, each - KEY_SIZE,
           (double)sc_keydir_memory(keydir) / (double)keys - KEY_SIZE);
}

static void measure_lookups(const struct sc_keydir *keydir, uint64_t count, uint64_t missing)
{
    struct sc_keydir_entry entry;
    uint64_t hits = 0;
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct key key = key_of(scattered(i, count) + missing);
        hits += sc_keydir_find(keydir, slice_of(&key), sc_slot_hash(slice_of(&key)), &entry);
    }
    report_rate(missing ? "lookups, absent" : "lookups", count, start);

    start = cpu_ns();
    for (uint64_t i = 0; i + BATCH <= count; i += BATCH) {
        struct key keys[BATCH];
        uint64_t hashes[BATCH];
        for (uint64_t j = 0; j < BATCH; j++) {
            keys[j] = key_of(scattered(i + j, count) + missing);
            hashes[j] = sc_slot_hash(slice_of(&keys[j]));
            sc_keydir_prefetch(keydir, hashes[j]);
        }
        for (uint64_t j = 0; j < BATCH; j++) {
            (void)sc_keydir_prefetch_key(keydir, hashes[j], NULL);
        }
        for (uint64_t j = 0; j < BATCH; j++) {
            hits += sc_keydir_find(keydir, slice_of(&keys[j]), hashes[j], &entry);
        }
    }
    report_rate(missing ? "  prefetched by 16" : "  prefetched by 16", count, start);
    if (hits != (missing ? 0 : count + count / BATCH * BATCH)) {
        printf("wrong: %" PRIu64 " hits\n", hits);
        exit(1);
    }
}

static void measure_sets(uint64_t count)
{
    uint64_t before = resident();
    struct sc_keydir *keydir = sc_keydir_alloc();
    sc_keydir_opened(keydir, NULL, NULL);
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct key key = key_of(i);
        sc_keydir_set(keydir, slice_of(&key), sc_slot_hash(slice_of(&key)), location_of(i), 0, 0,
                      NULL);
    }
    report_rate("inserts", count, start);
    report_memory("memory after inserts", keydir, before);
    measure_lookups(keydir, count, 0);
    measure_lookups(keydir, count, count);

    start = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct key key = key_of(scattered(i, count));
        sc_keydir_remove(keydir, slice_of(&key), sc_slot_hash(slice_of(&key)), NULL);
        key = key_of(scattered(i, count) + count);
        sc_keydir_set(keydir, slice_of(&key), sc_slot_hash(slice_of(&key)), location_of(i), 0, 0,
                      NULL);
    }
    report_rate("remove one, insert another", count, start);
    report_memory("memory after this churn", keydir, before);
    sc_keydir_free(keydir);
}

static void measure_worst(uint64_t count)
{
    struct sc_keydir *keydir = sc_keydir_alloc();
    sc_keydir_opened(keydir, NULL, NULL);
    uint64_t worst = 0;
    uint64_t slow = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct key key = key_of(i);
        uint64_t start_one = cpu_ns();
        sc_keydir_set(keydir, slice_of(&key), sc_slot_hash(slice_of(&key)), location_of(i), 0, 0,
                      NULL);
        uint64_t took = cpu_ns() - start_one;
        worst = took > worst ? took : worst;
        slow += took > 100000;
    }
    printf("%-28s %8.0f us, %" PRIu64 " took over 100 us\n", "worst insert", (double)worst / 1e3,
           slow);
    sc_keydir_free(keydir);
}

static void measure_offers(uint64_t count)
{
    uint64_t before = resident();
    struct sc_keydir *keydir = sc_keydir_alloc();
    struct sc_location old;
    bool old_tombstone;
    uint64_t start = cpu_ns();
    for (uint64_t i = 0; i + BATCH <= count; i += BATCH) {
        struct key keys[BATCH];
        uint64_t hashes[BATCH];
        for (uint64_t j = 0; j < BATCH; j++) {
            keys[j] = key_of(i + j);
            hashes[j] = sc_slot_hash(slice_of(&keys[j]));
            sc_keydir_prefetch(keydir, hashes[j]);
        }
        for (uint64_t j = 0; j < BATCH; j++) {
            (void)sc_keydir_prefetch_key(keydir, hashes[j], NULL);
        }
        for (uint64_t j = 0; j < BATCH; j++) {
            sc_keydir_offer(keydir, slice_of(&keys[j]), hashes[j], i + j + 1, false,
                            location_of(i + j), 0, &old, &old_tombstone);
        }
    }
    report_rate("offers, prefetched by 16", count, start);
    report_memory("memory before opened", keydir, before);
    start = cpu_ns();
    sc_keydir_opened(keydir, NULL, NULL);
    report_rate("opened", count, start);
    report_memory("memory after opened", keydir, before);
    sc_keydir_free(keydir);
}

/* All keys in slot 0: found by trying. */
static void measure_one_slot(uint64_t count)
{
    struct key *keys = sc_alloc(ONE_SLOT_KEYS * sizeof *keys);
    uint64_t number = count;
    for (uint32_t found = 0; found<ONE_SLOT_KEYS; found += number++> 0) {
        do {
            keys[found] = key_of(++number);
        } while (sc_slot_of_key(slice_of(&keys[found])) != 0);
    }
    struct sc_keydir *keydir = sc_keydir_alloc();
    sc_keydir_opened(keydir, NULL, NULL);
    uint64_t worst = 0;
    uint64_t start = cpu_ns();
    for (uint32_t i = 0; i < ONE_SLOT_KEYS; i++) {
        struct sc_slice key = slice_of(&keys[i]);
        uint64_t start_one = cpu_ns();
        sc_keydir_set(keydir, key, sc_slot_hash(key), location_of(i), 0, 0, NULL);
        uint64_t took = cpu_ns() - start_one;
        worst = took > worst ? took : worst;
    }
    report_rate("200k inserts in one slot", ONE_SLOT_KEYS, start);
    printf("%-28s %8.0f us\n", "  worst", (double)worst / 1e3);
    struct sc_keydir_entry entry;
    start = cpu_ns();
    for (uint32_t i = 0; i < ONE_SLOT_KEYS; i++) {
        struct sc_slice key = slice_of(&keys[i]);
        sc_keydir_find(keydir, key, sc_slot_hash(key), &entry);
    }
    report_rate("lookups in one slot", ONE_SLOT_KEYS, start);
    sc_keydir_free(keydir);
    free(keys);
}

static void in_a_process(void (*measure)(uint64_t count), uint64_t count)
{
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        measure(count);
        (void)fflush(stdout);
        _exit(0);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
        perror("measuring");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static const uint64_t counts[] = {1000000, 5000000};
    int given = argc - 1;
    for (int i = 0; i < (given > 0 ? given : 2); i++) {
        uint64_t count = given > 0 ? strtoull(argv[i + 1], NULL, 10) : counts[i];
        printf("%" PRIu64 " keys of %u bytes\n", count, KEY_SIZE);
        in_a_process(measure_sets, count);
        in_a_process(measure_worst, count);
        in_a_process(measure_offers, count);
    }
    if (given == 0) {
        in_a_process(measure_one_slot, 0);
    }
    return 0;
}
