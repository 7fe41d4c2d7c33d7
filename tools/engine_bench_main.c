/*
 * shardcask-engine-bench: what the storage engine does alone, in one thread and without a network,
 * beside other engines that were found when this was built. See usage().
 */
#include "common/version.h"
#include "tools/engine_bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void usage(FILE *to)
{
    fputs(
        "usage: shardcask-engine-bench [--engines NAME[,NAME...]] [--keys N[,N...]] [--rounds N]\n"
        "                              [--operations N] [--value-size BYTES] [--dir DIR]\n"
        "                              [--processor-time] [--json | --table]\n"
        "Measures storage engines, one thread each: by default all that this program was built\n"
        "with (",
        to);
    for (size_t i = 0; sc_contender_all[i] != NULL; i++) {
        fprintf(to, "%s%s", i > 0 ? ", " : "", sc_contender_all[i]->name);
    }
    fputs(
        "), with 1000000 and 5000000 keys of 16 bytes and values of 100, in\n"
        "directories made in DIR (default: $TMPDIR or /tmp) that are removed at the end. Engines\n"
        "take turns, N rounds (default 3) of them; medians are printed, as a table on a terminal,\n"
        "else as JSON. --operations: so many at most of each kind but new keys (default 1000000).\n"
        "--processor-time takes all but synced puts by the processor time that they need, that of\n"
        "background threads included, which other load changes less. Uses some 800 bytes of disk\n"
        "a key.\n"
        "The other engines are in librocksdb-dev, libleveldb-dev and liblmdb-dev of Debian;\n"
        "tools/figures --engine installs them and builds this with them.\n",
        to);
}

/* ---- Command line ---- */

static bool parse_number(const char *text, uint64_t most, uint64_t *number, const char **end)
{
    char *stop;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    *number = value;
    *end = stop;
    return stop != text && *text != '-' && errno == 0 && value <= most;
}

static bool parse_whole(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    const char *end;
    return parse_number(text, most, number, &end) && *end == '\0' && *number >= least;
}

static bool parse_counts(struct sc_engine_bench_settings *settings, const char *text)
{
    settings->count_count = 0;
    for (;; text++) {
        uint64_t *count = &settings->counts[settings->count_count];
        if (settings->count_count++ == SC_ENGINE_BENCH_COUNTS_MAX ||
            !parse_number(text, UINT64_C(1) << 32, count, &text) || *count == 0) {
            return false;
        }
        if (*text != ',') {
            return *text == '\0';
        }
    }
}

static const struct sc_contender *find_contender(const char *name, size_t size)
{
    for (size_t i = 0; sc_contender_all[i] != NULL; i++) {
        const char *known = sc_contender_all[i]->name;
        if (strlen(known) == size && memcmp(known, name, size) == 0) {
            return sc_contender_all[i];
        }
    }
    fprintf(stderr, "shardcask-engine-bench: there is no engine %.*s here; see --help\n", (int)size,
            name);
    return NULL;
}

static bool parse_engines(struct sc_engine_bench_settings *settings, const char *text)
{
    settings->contender_count = 0;
    for (;; text++) {
        size_t size = strcspn(text, ",");
        const struct sc_contender *found = find_contender(text, size);
        if (found == NULL || settings->contender_count == SC_CONTENDER_MAX) {
            return false;
        }
        settings->contenders[settings->contender_count++] = found;
        text += size;
        if (*text == '\0') {
            return true;
        }
    }
}

static bool parse_option(struct sc_engine_bench_settings *settings, int option, const char *value)
{
    uint64_t number = 0;
    bool right = true;
    switch (option) {
    case 'e':
        return parse_engines(settings, value);
    case 'k':
        return parse_counts(settings, value);
    case 'r':
        right = parse_whole(value, 1, SC_ENGINE_BENCH_ROUNDS_MAX, &number);
        settings->rounds = (unsigned)number;
        return right;
    case 'o':
        return parse_whole(value, 2, UINT64_MAX, &settings->operations);
    case 'v':
        return parse_whole(value, 0, SC_ENGINE_BENCH_VALUE_MAX, &settings->value_size);
    case 'd':
        settings->dir = value;
        return true;
    case 'p':
        settings->processor_time = true;
        return true;
    case 'j':
    case 't':
        settings->json = option == 'j';
        return true;
    default:
        return false;
    }
}

/* -1: go on; else the exit status. */
static int parse(struct sc_engine_bench_settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"engines", required_argument, NULL, 'e'},
        {"keys", required_argument, NULL, 'k'},
        {"rounds", required_argument, NULL, 'r'},
        {"operations", required_argument, NULL, 'o'},
        {"value-size", required_argument, NULL, 'v'},
        {"dir", required_argument, NULL, 'd'},
        {"processor-time", no_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {"table", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    bool right = true;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (option == 'V') {
            printf("shardcask-engine-bench " SC_VERSION "\n");
            return 0;
        }
        right = right && parse_option(settings, option, optarg);
    }
    if (!right || optind != argc) {
        usage(stderr);
        return 2;
    }
    return -1;
}

/* ---- Runs ---- */

/* All rounds with one number of keys: the engines take turns, each time another one begins. */
static bool measure(const struct sc_engine_bench_settings *settings, size_t count_index,
                    struct sc_engine_bench_round *rounds)
{
    for (unsigned round = 0; round < settings->rounds; round++) {
        for (size_t i = 0; i < settings->contender_count; i++) {
            size_t c = (i + round) % settings->contender_count;
            if (!sc_engine_bench_run(settings, settings->contenders[c],
                                     settings->counts[count_index], &rounds[round].results[c])) {
                return false;
            }
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    const char *tmpdir = getenv("TMPDIR");
    struct sc_engine_bench_settings settings = {
        .counts = {1000000, 5000000},
        .count_count = 2,
        .value_size = 100,
        .operations = 1000000,
        .rounds = 3,
        .dir = tmpdir != NULL ? tmpdir : "/tmp",
        .json = isatty(STDOUT_FILENO) == 0,
    };
    while (sc_contender_all[settings.contender_count] != NULL) {
        settings.contenders[settings.contender_count] = sc_contender_all[settings.contender_count];
        settings.contender_count++;
    }
    int status = parse(&settings, argc, argv);
    if (status >= 0) {
        return status;
    }
    bool good = true;
    struct sc_engine_bench_round *rounds = sc_calloc(settings.rounds, sizeof *rounds);
    for (size_t i = 0; i < settings.count_count && good; i++) {
        good = measure(&settings, i, rounds);
        if (good) {
            sc_engine_bench_report(&settings, i, rounds);
        }
    }
    free(rounds);
    return good ? 0 : 1;
}
