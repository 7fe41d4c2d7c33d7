/*
 * shardcask-bench: reads the command line, loads the keys, runs the workloads one after the other,
 * reports.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/daemon.h"
#include "common/limits.h"
#include "common/version.h"
#include "tools/bench.h"
#include "tools/bench_handle.h"
#include "tools/bench_report.h"
#include "tools/bench_wire.h"

#include <argp.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Exit statuses, as of the command-line client. */
enum { DONE = 0, USAGE = 2, STORE_ERROR = 3, UNREACHABLE = 4 };

#define FILL_BATCH 1000u

/* Visible, so that it takes the place of the C library's. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "shardcask-bench " SC_VERSION;

/* ---- The command line ---- */

struct flags {
    struct sc_bench_options options;
    enum sc_bench_workload workloads[16];
    size_t workload_count;
};

enum {
    FLAG_BATCH = 256,
    FLAG_KEYS,
    FLAG_KEY_SIZE,
    FLAG_VALUE_SIZE,
    FLAG_SECONDS,
    FLAG_REQUESTS,
    FLAG_RATIO,
    FLAG_SYNC,
    FLAG_NO_SYNC,
    FLAG_NO_LOAD,
    FLAG_WARM_UP,
    FLAG_JSON,
    FLAG_DRIVERS,
    FLAG_DIRECT,
    FLAG_OWN_HANDLES,
};

static const struct argp_option option_list[] = {
    {"url", 'u', "URL", 0, "The store (default $SHARDCASK_URL, or " SC_URL_DEFAULT ")", 0},
    {0, 0, 0, 0, "Who asks:", 1},
    {"connections", 'c', "N", 0,
     "N connections, one message outstanding on each (the default, with 50)", 1},
    {"drivers", FLAG_DRIVERS, "N", 0, "Threads that drive the connections (default 1)", 1},
    {"threads", 't', "N", 0, "N threads share one handle of the client library and wait", 1},
    {"own-handles", FLAG_OWN_HANDLES, 0, 0, "With --threads: each thread has a handle of its own",
     1},
    {"async", 'a', "N", 0, "N calls outstanding on one handle of the client library", 1},
    {"direct", FLAG_DIRECT, 0, 0,
     "Talk to the shards, not to the coordinator; each of the connections to one of them, about "
     "its "
     "own keys",
     1},
    {0, 0, 0, 0, "What is asked:", 2},
    {"batch", FLAG_BATCH, "N", 0, "Operations in a message (default 1; mput and mget: 10)", 2},
    {"keys", FLAG_KEYS, "N", 0, "How many different keys (default 100,000), chosen at random", 2},
    {"key-size", FLAG_KEY_SIZE, "BYTES", 0, "(default 16)", 2},
    {"value-size", FLAG_VALUE_SIZE, "BYTES", 0, "(default 100)", 2},
    {"ratio", FLAG_RATIO, "GETS:PUTS", 0, "Of the workload mixed (default 1:1)", 2},
    {"sync", FLAG_SYNC, 0, 0, "Each put waits for the disk, whatever the store's setting", 2},
    {"no-sync", FLAG_NO_SYNC, 0, 0, "No put waits for the disk", 2},
    {"no-load", FLAG_NO_LOAD, 0, 0, "Do not write all keys before they are read", 2},
    {0, 0, 0, 0, "How long, and how it is told:", 3},
    {"seconds", FLAG_SECONDS, "N", 0, "For each workload (default 5)", 3},
    {"requests", FLAG_REQUESTS, "N", 0, "So many messages for each workload, instead", 3},
    {"warm-up", FLAG_WARM_UP, "MS", 0, "Not measured, before each workload (default 500)", 3},
    {"json", FLAG_JSON, 0, 0, "One line of JSON for each workload", 3},
    {0},
};

static bool parse_ratio(const char *text, struct sc_bench_options *options)
{
    unsigned gets = 0;
    unsigned puts = 0;
    int end = 0;
    /* NOLINTNEXTLINE(cert-err34-c,bugprone-unchecked-string-to-number-conversion) */
    if (sscanf(text, "%5u:%5u%n", &gets, &puts, &end) != 2 || text[end] != '\0' ||
        gets + puts == 0) {
        return false;
    }
    options->gets = gets;
    options->puts = puts;
    return true;
}

static bool parse_workload(const char *text, struct flags *flags)
{
    for (unsigned i = 0; i < SC_BENCH_WORKLOAD_COUNT; i++) {
        if (strcmp(text, sc_bench_workload_name((enum sc_bench_workload)i)) == 0 &&
            flags->workload_count < sizeof flags->workloads / sizeof *flags->workloads) {
            flags->workloads[flags->workload_count++] = (enum sc_bench_workload)i;
            return true;
        }
    }
    return false;
}

static bool parse_mode(const char *text, enum sc_bench_mode mode, uint64_t most,
                       struct sc_bench_options *options)
{
    options->mode = mode;
    return sc_daemon_number(text, false, 1, most, &options->width);
}

static bool parse_number_flag(int key, const char *text, struct sc_bench_options *o)
{
    switch (key) {
    case FLAG_BATCH:
        return sc_daemon_number(text, false, 1, SC_BENCH_BATCH_MAX, &o->batch);
    case FLAG_KEYS:
        return sc_daemon_number(text, false, 1, UINT64_C(10000000000), &o->keys);
    case FLAG_KEY_SIZE:
        return sc_daemon_number(text, false, 2, SC_BENCH_KEY_SIZE_MAX, &o->key_size);
    case FLAG_VALUE_SIZE:
        return sc_daemon_number(text, true, 0, 60u << 20, &o->value_size);
    case FLAG_SECONDS:
        return sc_daemon_number(text, false, 1, 1000000, &o->seconds);
    case FLAG_REQUESTS:
        return sc_daemon_number(text, false, 1, UINT64_C(1) << 60, &o->requests);
    case FLAG_WARM_UP:
        return sc_daemon_number(text, false, 0, 1000000, &o->warm_up_ms);
    case FLAG_DRIVERS:
        return sc_daemon_number(text, false, 1, 64, &o->drivers);
    default:
        return false;
    }
}

static void finish_flags(struct argp_state *state, struct flags *flags)
{
    struct sc_bench_options *o = &flags->options;
    static const enum sc_bench_workload usual[] = {SC_BENCH_PUT, SC_BENCH_GET, SC_BENCH_MIXED};
    for (size_t i = 0; flags->workload_count == 0 && i < sizeof usual / sizeof *usual; i++) {
        flags->workloads[i] = usual[i];
    }
    flags->workload_count =
        flags->workload_count == 0 ? sizeof usual / sizeof *usual : flags->workload_count;
    if (o->own_handles && o->mode != SC_BENCH_THREADS) {
        argp_error(state, "--own-handles goes with --threads only");
    }
    uint64_t most = 1; /* keys that can be told apart */
    for (uint64_t i = 1; i < o->key_size && most < o->keys; i++) {
        most *= 10;
    }
    if (most < o->keys) {
        argp_error(state, "%" PRIu64 " keys need more than %" PRIu64 " bytes", o->keys,
                   o->key_size);
    }
    o->drivers = o->drivers < o->width ? o->drivers : o->width;
}

static error_t parse_flag(int key, char *text, struct argp_state *state)
{
    struct flags *flags = state->input;
    struct sc_bench_options *o = &flags->options;
    bool good = true;
    switch (key) {
    case 'u':
        o->url = text;
        break;
    case 'c':
        good = parse_mode(text, SC_BENCH_CONNECTIONS, 60000, o);
        break;
    case 't':
        good = parse_mode(text, SC_BENCH_THREADS, 4096, o);
        break;
    case 'a':
        good = parse_mode(text, SC_BENCH_ASYNC, 16384, o);
        break;
    case FLAG_RATIO:
        good = parse_ratio(text, o);
        break;
    case FLAG_SYNC:
    case FLAG_NO_SYNC:
        o->sync = key == FLAG_SYNC ? SHARDCASK_SYNC : SHARDCASK_NO_SYNC;
        break;
    case FLAG_NO_LOAD:
        o->load = false;
        break;
    case FLAG_JSON:
        o->json = true;
        break;
    case FLAG_DIRECT:
        o->direct = true;
        break;
    case FLAG_OWN_HANDLES:
        o->own_handles = true;
        break;
    case ARGP_KEY_ARG:
        if (!parse_workload(text, flags)) {
            argp_error(state, "'%s' is no workload, or there are too many", text);
        }
        break;
    case ARGP_KEY_END:
        finish_flags(state, flags);
        break;
    default:
        if (key < FLAG_BATCH || key > FLAG_OWN_HANDLES) {
            return ARGP_ERR_UNKNOWN;
        }
        good = parse_number_flag(key, text, o);
    }
    if (!good) {
        argp_error(state, "'%s' is not a value for this flag", text);
    }
    return 0;
}

/* ---- Workers ---- */

struct worker {
    pthread_t thread;
    struct sc_bench_run *run;
    struct sc_bench_tally *tally;
    unsigned number;
    struct shardcask *db; /* of threads and async */
    struct shardcask *own_db; /* the same, if it is the worker's own */
    struct sc_bench_wire *wire; /* of connections */
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    switch (worker->run->options->mode) {
    case SC_BENCH_CONNECTIONS:
        sc_bench_wire_drive(worker->wire);
        break;
    case SC_BENCH_THREADS:
        sc_bench_handle_call(worker->db, worker->run, worker->tally, worker->number);
        break;
    case SC_BENCH_ASYNC:
        sc_bench_handle_submit(worker->db, worker->run, worker->tally);
        break;
    }
    atomic_store(&worker->run->ended_ns, sc_clock_mono_ns());
    atomic_fetch_sub(&worker->run->running, 1);
    return NULL;
}

static unsigned count_workers(const struct sc_bench_options *options)
{
    switch (options->mode) {
    case SC_BENCH_CONNECTIONS:
        return (unsigned)options->drivers;
    case SC_BENCH_THREADS:
        return (unsigned)options->width;
    case SC_BENCH_ASYNC:
        break;
    }
    return 1;
}

static enum sc_status open_handle(const struct sc_bench_options *options, struct shardcask **db,
                                  char *why)
{
    struct shardcask_options own = {.direct = options->direct};
    return (enum sc_status)shardcask_open(options->url, &own, db, why);
}

/* Connects the workers of connections; the others have the handle, or get one. */
static enum sc_status connect_workers(struct sc_bench_run *run, struct worker *workers,
                                      struct shardcask *db, char *why)
{
    const struct sc_bench_options *options = run->options;
    uint64_t first = 0;
    enum sc_status status = SC_OK;
    for (unsigned i = 0; i < run->worker_count && status == SC_OK; i++) {
        workers[i] = (struct worker){.run = run, .tally = &run->tallies[i], .number = i, .db = db};
        if (options->mode == SC_BENCH_CONNECTIONS) {
            uint64_t next = options->width * (i + 1) / run->worker_count;
            status = sc_bench_wire_open(run, workers[i].tally, first, next - first,
                                        &workers[i].wire, why);
            first = next;
        } else if (options->own_handles) {
            status = open_handle(options, &workers[i].own_db, why);
            workers[i].db = workers[i].own_db;
        }
    }
    return status;
}

/* ---- Runs ---- */

static uint64_t sum_done(const struct sc_bench_run *run)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->worker_count; i++) {
        sum += atomic_load_explicit(&run->tallies[i].done, memory_order_relaxed);
    }
    return sum;
}

/* Sleeps until `until_ns`, or until all workers have ended; shows the progress. */
static void watch(struct sc_bench_run *run, uint64_t until_ns)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    uint64_t shown_ns = sc_clock_mono_ns();
    uint64_t shown_done = sum_done(run);
    uint64_t now_ns = shown_ns;
    while (now_ns < until_ns && atomic_load(&run->running) > 0) {
        uint64_t left_ns = until_ns - now_ns;
        (void)nanosleep(&(struct timespec){0, left_ns < 20000000 ? (long)left_ns : 20000000}, NULL);
        now_ns = sc_clock_mono_ns();
        if (terminal && now_ns - shown_ns >= 500000000) {
            uint64_t done = sum_done(run);
            sc_bench_report_progress(stderr, sc_bench_workload_name(run->workload),
                                     done - shown_done, (double)(now_ns - shown_ns) / 1e9);
            shown_ns = now_ns;
            shown_done = done;
        }
    }
    if (terminal) {
        sc_bench_report_progress_end(stderr);
    }
}

/* Lets the workers warm up, measures for the time given, and stops them. */
static void measure(struct sc_bench_run *run, struct worker *workers)
{
    const struct sc_bench_options *options = run->options;
    bool timed = options->requests == 0;
    atomic_store(&run->measuring, !timed);
    atomic_store(&run->running, run->worker_count);
    atomic_store(&run->requests_left, (int64_t)options->requests);
    uint64_t begun_ns = sc_clock_mono_ns();
    for (unsigned i = 0; i < run->worker_count; i++) {
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fprintf(stderr, "shardcask-bench: cannot start a thread\n");
            abort();
        }
    }
    if (timed) {
        watch(run, begun_ns + options->warm_up_ms * 1000000);
        atomic_store(&run->measuring, true);
        begun_ns = sc_clock_mono_ns();
    }
    watch(run, timed ? begun_ns + options->seconds * 1000000000 : UINT64_MAX);
    uint64_t ended_ns = timed ? sc_clock_mono_ns() : atomic_load(&run->ended_ns);
    atomic_store(&run->stop, true);
    if (timed) {
        atomic_store(&run->measuring, false);
    }
    for (unsigned i = 0; i < run->worker_count; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    run->elapsed_s = (double)(ended_ns - begun_ns) / 1e9;
}

static void add_tally(struct sc_bench_tally *total, const struct sc_bench_tally *tally)
{
    if (total->errors == 0 && tally->errors > 0) {
        total->status = tally->status;
        (void)snprintf(total->why, sizeof total->why, "%s", tally->why);
    }
    total->operations += tally->operations;
    total->missing += tally->missing;
    total->errors += tally->errors;
    sc_bench_latency_merge(&total->latency, &tally->latency);
}

static int status_to_exit(enum sc_status status)
{
    return status == SC_OK ? DONE : status == SC_BADREQUEST ? USAGE : UNREACHABLE;
}

/* Runs one workload; run->total has the result. */
static int run_workload(struct sc_bench_run *run, struct shardcask *db)
{
    char why[SC_WHY_SIZE] = "";
    run->worker_count = count_workers(run->options);
    run->tallies = sc_calloc(run->worker_count, sizeof *run->tallies);
    struct worker *workers = sc_calloc(run->worker_count, sizeof *workers);
    enum sc_status status = connect_workers(run, workers, db, why);
    if (status == SC_OK) {
        measure(run, workers);
    } else {
        fprintf(stderr, "shardcask-bench: %s\n", why);
    }
    for (unsigned i = 0; i < run->worker_count; i++) {
        add_tally(&run->total, &run->tallies[i]);
        sc_bench_wire_close(workers[i].wire);
        shardcask_close(workers[i].own_db);
    }
    free(workers);
    free(run->tallies);
    return status_to_exit(status);
}

/* Writes every key once. */
static int fill(const struct sc_bench_options *options, struct shardcask *db)
{
    struct sc_bench_options own = *options;
    own.batch = FILL_BATCH;
    own.sync = 0;
    struct sc_bench_tally *tally = sc_calloc(1, sizeof *tally);
    struct sc_bench_run run = {.options = &own, .workload = SC_BENCH_MPUT};
    uint64_t begun_ns = sc_clock_mono_ns();
    atomic_store(&run.measuring, true);
    sc_bench_handle_fill(db, &run, tally);
    int result = DONE;
    if (tally->errors > 0) {
        fprintf(stderr, "shardcask-bench: loading the keys failed: %s\n", tally->why);
        result = tally->status == SC_UNAVAILABLE ? UNREACHABLE : STORE_ERROR;
    } else if (!options->json) {
        double seconds = (double)(sc_clock_mono_ns() - begun_ns) / 1e9;
        printf("loaded %" PRIu64 " keys in %.2f s\n\n", own.keys, seconds);
    }
    free(tally);
    return result;
}

static bool reads(enum sc_bench_workload workload)
{
    return workload == SC_BENCH_GET || workload == SC_BENCH_MGET || workload == SC_BENCH_MIXED;
}

static int report(const struct sc_bench_run *run)
{
    if (run->options->json) {
        sc_bench_report_json(stdout, run);
    } else {
        sc_bench_report_row(stdout, run);
    }
    (void)fflush(stdout);
    if (run->total.errors > 0) {
        fprintf(stderr, "shardcask-bench: %s: %" PRIu64 " errors, the first: %s\n",
                sc_bench_workload_name(run->workload), run->total.errors, run->total.why);
        return STORE_ERROR;
    }
    return DONE;
}

/* Who owns which keys, for connections to the shards. */
static enum sc_status read_map(struct shardcask *db, struct sc_clustermap *map, char *why)
{
    struct shardcask_value value = SHARDCASK_VALUE_INIT;
    enum sc_status status = (enum sc_status)shardcask_map(db, &value);
    if (status != SC_OK) {
        status = sc_fail(why, status, "cannot get the map: %s", shardcask_error());
    } else if (!sc_clustermap_read(sc_mp(sc_slice(value.data, value.size)), map)) {
        status = sc_fail(why, SC_INTERNAL, "the map makes no sense");
    }
    shardcask_value_free(&value);
    return status;
}

static int run_one(const struct flags *flags, enum sc_bench_workload workload,
                   const struct sc_clustermap *map, struct shardcask *db)
{
    struct sc_bench_options options = flags->options;
    bool many = workload == SC_BENCH_MPUT || workload == SC_BENCH_MGET;
    options.batch = options.batch != 0 ? options.batch : many ? 10 : 1;
    struct sc_bench_run *run = sc_calloc(1, sizeof *run);
    run->options = &options;
    run->workload = workload;
    run->map = map;
    int result = run_workload(run, db);
    if (result == DONE) {
        result = report(run);
    }
    free(run);
    return result;
}

static int run_all(const struct flags *flags, const struct sc_clustermap *map, struct shardcask *db)
{
    bool load = false;
    for (size_t i = 0; i < flags->workload_count; i++) {
        load = load || reads(flags->workloads[i]);
    }
    if (!flags->options.json) {
        sc_bench_report_title(stdout, &flags->options);
    }
    int result = load && flags->options.load ? fill(&flags->options, db) : DONE;
    if (result == DONE && !flags->options.json) {
        sc_bench_report_head(stdout);
    }
    for (size_t i = 0; i < flags->workload_count && (result == DONE || result == STORE_ERROR);
         i++) {
        int one = run_one(flags, flags->workloads[i], map, db);
        result = one != DONE ? one : result;
    }
    return result;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_list,
        parse_flag,
        "[WORKLOAD...]",
        "Measures a Shardcask store: how many operations a second, and how long one takes.\v"
        "Workloads, run one after the other: put, get, mixed (gets and puts, see --ratio), mput "
        "and mget (several keys in one message), incr. Default: put get mixed. The store's "
        "content stays: keys are written whose names are k or n and digits.",
        NULL,
        NULL,
        NULL};
    const char *url = getenv("SHARDCASK_URL");
    struct flags flags = {.options = {
                              .url = url != NULL && *url != '\0' ? url : SC_URL_DEFAULT,
                              .mode = SC_BENCH_CONNECTIONS,
                              .width = 50,
                              .drivers = 1,
                              .keys = 100000,
                              .key_size = 16,
                              .value_size = 100,
                              .gets = 1,
                              .puts = 1,
                              .seconds = 5,
                              .warm_up_ms = 500,
                              .load = true,
                          }};
    argp_err_exit_status = USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &flags) != 0) {
        return USAGE;
    }
    struct shardcask *db = NULL;
    char why[SHARDCASK_WHY_SIZE];
    struct sc_clustermap map = {0};
    bool by_map = flags.options.direct && flags.options.mode == SC_BENCH_CONNECTIONS;
    enum sc_status status = open_handle(&flags.options, &db, why);
    if (status == SC_OK && by_map) {
        status = read_map(db, &map, why);
    }
    if (status != SC_OK) {
        fprintf(stderr, "shardcask-bench: %s\n", why);
        shardcask_close(db);
        return status_to_exit(status);
    }
    int result = run_all(&flags, by_map ? &map : NULL, db);
    sc_clustermap_fini(&map);
    shardcask_close(db);
    return result;
}
