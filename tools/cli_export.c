/*
 * export: what the store holds at one moment goes into a file.
 *
 * A snapshot is opened on all shards, and threads read it, each the pages of some of the shards in
 * turns, so that several shards work at a time and none of them is left alone for long.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/json.h"
#include "common/clock.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/export_file.h"
#include "tools/import_report.h"
#include "tools/progress.h"

#define THREADS_MAX 8u
#define RETRY_NS 200000000L
#define OPEN_RETRIES 50u /* while slots are handed over */
#define PAGE_RETRIES 50u /* while a shard or the coordinator is not there */
#define LOOK_NS 100000000L

/* What the report calls the place of a record: the shard's id. */
static const struct sc_import_format report_format = {.name = "export", .unit = "shard"};

/* The part of the snapshot that one shard has. */
struct part {
    uint64_t shard_id;
    struct sc_buf cursor;
    bool ended;
};

/* An export under way. */
struct job {
    /* constant while the threads run */
    struct sc_cli *cli;
    uint64_t id; /* of the snapshot; 0: there is none */
    struct part *parts; /* each is used by one thread only */
    size_t part_count;
    size_t thread_count;
    uint64_t total; /* keys, about */
    const char *target; /* as given */
    const char *report_path; /* likewise; NULL: it was not */
    bool absolute; /* tell when a record expires, not how long it has left */

    pthread_mutex_t lock;
    pthread_cond_t ended;
    /* guarded by the lock */
    struct sc_export_file file;
    struct sc_import_report report;
    bool reporting;
    uint64_t written;
    size_t running; /* threads */
    bool stop;
    int code; /* of the first failure */
    char why[SC_WHY_SIZE];
};

struct worker {
    struct job *job;
    size_t number;
    struct sc_buf lines;
    uint64_t line_count;
};

/* ---- Threads ---- */

/* The first failure is the one that is told. */
static void fail(struct job *job, int code, const char *why)
{
    pthread_mutex_lock(&job->lock);
    if (job->code == SC_CLI_DONE) {
        job->code = code;
        sc_why(job->why, "%s", why);
    }
    job->stop = true;
    pthread_mutex_unlock(&job->lock);
}

static bool stopped(struct job *job)
{
    pthread_mutex_lock(&job->lock);
    bool stop = job->stop;
    pthread_mutex_unlock(&job->lock);
    return stop;
}

static void put_expiry(struct worker *worker, uint64_t expires_ms, uint64_t now_ms)
{
    char text[48];
    bool absolute = worker->job->absolute;
    uint64_t left = expires_ms > now_ms ? expires_ms - now_ms : 1;
    int size =
        snprintf(text, sizeof text, absolute ? ",\"expires_ms\":%" PRIu64 : ",\"ttl_ms\":%" PRIu64,
                 absolute ? expires_ms : left);
    sc_buf_append(&worker->lines, text, (size_t)size);
}

static bool put_record(struct worker *worker, const struct sc_msg_copied *record, uint64_t now_ms)
{
    struct sc_buf *lines = &worker->lines;
    sc_buf_append(lines, "{\"key\":", 7);
    sc_json_write_key(record->key, lines);
    sc_buf_append(lines, ",\"value\":", 9);
    if (sc_json_write(record->value, lines, NULL) != SC_OK) {
        return false;
    }
    if (record->expires_ms != 0) {
        put_expiry(worker, record->expires_ms, now_ms);
    }
    sc_buf_append(lines, "}\n", 2);
    worker->line_count++;
    return true;
}

static void leave_out(struct job *job, uint64_t shard_id, const struct sc_msg_copied *copied)
{
    char why[SC_WHY_SIZE];
    struct sc_import_record record = {
        .key = copied->key,
        .number = shard_id,
        .kind = copied->status == SC_CORRUPT ? SC_IMPORT_DAMAGED : SC_IMPORT_LOST,
    };
    sc_why(why, "%.*s", (int)(copied->why.size < 300 ? copied->why.size : 300),
           copied->why.size > 0 ? (const char *)copied->why.data : "");
    pthread_mutex_lock(&job->lock);
    if (!job->reporting) {
        sc_import_report_init(&job->report, &report_format, "export", job->target,
                              job->report_path);
        job->reporting = true;
    }
    sc_import_report_leave_out(&job->report, &record, copied->status, why);
    pthread_mutex_unlock(&job->lock);
}

/* Takes a page in. False when it makes no sense. */
static bool take_page(struct worker *worker, struct part *part, struct sc_mp *mp)
{
    struct sc_slice next;
    uint64_t now_ms = 0;
    uint32_t count = 0;
    if (!sc_msg_take_page(mp, &next, &now_ms, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct sc_msg_copied record;
        if (!sc_msg_take_copied(mp, &record)) {
            return false;
        }
        if (record.status != SC_OK) {
            leave_out(worker->job, part->shard_id, &record);
        } else if (!put_record(worker, &record, now_ms)) {
            return false;
        }
    }
    part->ended = next.size == 0;
    part->cursor.size = 0;
    sc_buf_append_slice(&part->cursor, next);
    return true;
}

/* Asks for a page until there is an answer. False: there was none; the job knows. */
static bool ask_page(struct job *job, const struct part *part, struct shardcask_value *body,
                     struct sc_msg_reply *reply)
{
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    struct sc_buf request = {0};
    char why[SC_WHY_SIZE];
    int code = SC_CLI_UNREACHABLE;
    sc_msg_put_snapshot_read(&request, job->id, part->shard_id, sc_buf_slice(&part->cursor));
    for (unsigned i = 0; code == SC_CLI_UNREACHABLE && i < PAGE_RETRIES && !stopped(job); i++) {
        if (i > 0) {
            (void)nanosleep(&pause, NULL);
        }
        if (shardcask_call(job->cli->db, request.data, request.size, body) != SHARDCASK_OK) {
            sc_why(why, "no answer from the store: %s", shardcask_error());
        } else if (!sc_msg_parse_reply(sc_slice(body->data, body->size), reply)) {
            code = SC_CLI_ERROR;
            sc_why(why, "the reply makes no sense; is it a shardcask of another version?");
        } else if (reply->status == SC_OK) {
            code = SC_CLI_DONE;
        } else {
            code = reply->status == SC_UNAVAILABLE ? SC_CLI_UNREACHABLE : SC_CLI_ERROR;
            sc_why(why, "shard %" PRIu64 ": %.*s (status %d, %s)", part->shard_id,
                   (int)(reply->why.size < 250 ? reply->why.size : 250),
                   reply->why.size > 0 ? (const char *)reply->why.data : "", reply->status,
                   sc_status_str(reply->status));
        }
    }
    sc_buf_fini(&request);
    if (code != SC_CLI_DONE && !stopped(job)) {
        fail(job, code, why);
    }
    return code == SC_CLI_DONE;
}

/* Writes the lines of a page. */
static void flush_lines(struct worker *worker)
{
    struct job *job = worker->job;
    pthread_mutex_lock(&job->lock);
    bool written = sc_export_file_write(&job->file, worker->lines.data, worker->lines.size);
    job->written += worker->line_count;
    job->stop = job->stop || !written; /* what it was is told by the close */
    pthread_mutex_unlock(&job->lock);
    worker->lines.size = 0;
    worker->line_count = 0;
}

static void export_page(struct worker *worker, struct part *part)
{
    struct job *job = worker->job;
    struct shardcask_value body = SHARDCASK_VALUE_INIT;
    struct sc_msg_reply reply;
    if (ask_page(job, part, &body, &reply)) {
        if (take_page(worker, part, &reply.result)) {
            flush_lines(worker);
        } else {
            fail(job, SC_CLI_ERROR, "a page makes no sense; is it a shardcask of another version?");
        }
    }
    shardcask_value_free(&body);
}

static void *run(void *arg)
{
    struct worker *worker = arg;
    struct job *job = worker->job;
    bool more = true;
    while (more && !stopped(job)) {
        more = false;
        for (size_t i = worker->number; i < job->part_count; i += job->thread_count) {
            if (!job->parts[i].ended && !stopped(job)) {
                export_page(worker, &job->parts[i]);
                more = more || !job->parts[i].ended;
            }
        }
    }
    sc_buf_fini(&worker->lines);
    pthread_mutex_lock(&job->lock);
    job->running--;
    pthread_cond_signal(&job->ended);
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

/* ---- The main thread ---- */

/* Shows how far it is until all threads have ended. */
static void watch(struct job *job, struct sc_progress *progress)
{
    pthread_mutex_lock(&job->lock);
    while (job->running > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&job->ended, &job->lock, &until);
        sc_progress_update(progress, job->written, job->total, job->written);
        if (sc_cli_interrupted() && job->code == SC_CLI_DONE) {
            job->code = SC_CLI_ERROR;
            sc_why(job->why, "interrupted");
            job->stop = true;
        }
    }
    pthread_mutex_unlock(&job->lock);
    sc_progress_clear(progress);
}

static void read_snapshot(struct job *job, struct sc_progress *progress)
{
    pthread_t threads[THREADS_MAX];
    struct worker workers[THREADS_MAX];
    size_t started = 0;
    job->thread_count = job->part_count < THREADS_MAX ? job->part_count : THREADS_MAX;
    job->running = job->thread_count;
    while (started < job->thread_count) {
        workers[started] = (struct worker){.job = job, .number = started};
        if (pthread_create(&threads[started], NULL, run, &workers[started]) != 0) {
            fail(job, SC_CLI_ERROR, "no thread could be started");
            pthread_mutex_lock(&job->lock);
            job->running -= job->thread_count - started;
            pthread_mutex_unlock(&job->lock);
            break;
        }
        started++;
    }
    watch(job, progress);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* Reads [id, [[shard id, keys]...]]. */
static bool read_opened(struct job *job, struct sc_mp *mp)
{
    uint32_t count = 0;
    if (!sc_mp_uint(mp, &job->id) || !sc_mp_array(mp, &count)) {
        return false;
    }
    job->parts = sc_calloc(count + 1, sizeof *job->parts);
    job->part_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t members = 0;
        uint64_t keys = 0;
        if (!sc_mp_array(mp, &members) || members != 2 ||
            !sc_mp_uint(mp, &job->parts[i].shard_id) || !sc_mp_uint(mp, &keys)) {
            return false;
        }
        job->total += keys;
    }
    return true;
}

static int open_snapshot(struct job *job)
{
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    struct sc_buf request = {0};
    struct sc_cli_reply reply = {0};
    int code = SC_CLI_DONE;
    sc_msg_put_op(&request, SC_OP_SNAPSHOT, 0);
    for (unsigned i = 0; i < OPEN_RETRIES; i++) {
        code = sc_cli_call(job->cli, sc_buf_slice(&request), &reply);
        if (code != SC_CLI_DONE || reply.status != SC_BUSY || sc_cli_interrupted()) {
            break;
        }
        (void)nanosleep(&pause, NULL);
        if (i + 1 < OPEN_RETRIES) {
            sc_cli_reply_fini(&reply);
        }
    }
    sc_buf_fini(&request);
    if (code == SC_CLI_DONE && reply.status != SC_OK) {
        code = sc_cli_refused(job->cli, "export", &reply);
    } else if (code == SC_CLI_DONE && !read_opened(job, &reply.result)) {
        code = sc_cli_garbled(job->cli, "export");
    }
    sc_cli_reply_fini(&reply);
    return code;
}

/* The shards close by themselves what nobody reads: whether this is heard does not matter. */
static void close_snapshot(const struct job *job)
{
    struct sc_buf request = {0};
    struct shardcask_value body = SHARDCASK_VALUE_INIT;
    if (job->id != 0 && job->cli->db != NULL) {
        sc_msg_put_snapshot_close(&request, job->id);
        (void)shardcask_call(job->cli->db, request.data, request.size, &body);
    }
    shardcask_value_free(&body);
    sc_buf_fini(&request);
}

/* Prints what was done, as one line of JSON, unless the records went the same way. */
static void print_figures(const struct job *job, const struct sc_progress *progress)
{
    if (job->file.path == NULL) {
        return;
    }
    fprintf(job->cli->out, "{\"exported\":%" PRIu64, job->written);
    if (job->reporting) {
        fprintf(job->cli->out, ",\"left_out\":%" PRIu64 ",\"report\":", job->report.left_out);
        struct sc_buf path = {0};
        sc_json_write_key(sc_slice_str(job->report.path), &path);
        fwrite(path.data, 1, path.size, job->cli->out);
        sc_buf_fini(&path);
    }
    fprintf(job->cli->out, ",\"seconds\":%.3f}\n", sc_progress_seconds(progress));
}

/* Ends the file and the report, and says what there is to be said. */
static int finish(struct job *job, const struct sc_progress *progress)
{
    struct sc_cli *cli = job->cli;
    char why[SC_WHY_SIZE] = "";
    int code = job->code;
    if (code != SC_CLI_DONE) {
        sc_cli_complain(cli, code, "export: %s", job->why);
    }
    if (!sc_export_file_close(&job->file, code == SC_CLI_DONE, why)) {
        return sc_cli_complain(cli, SC_CLI_ERROR, "export: %s", why);
    }
    if (job->reporting && sc_import_report_close(&job->report) != 0) {
        code = sc_cli_complain(cli, SC_CLI_ERROR, "export: cannot write the report %s: %s",
                               job->report.path, strerror(job->report.error));
    }
    if (code == SC_CLI_DONE) {
        print_figures(job, progress);
    }
    if (code == SC_CLI_DONE && job->reporting && job->report.left_out > 0) {
        code = sc_cli_complain(cli, SC_CLI_ERROR,
                               "export: %" PRIu64 " records written, %" PRIu64
                               " cannot be read and are left out: %s lists them",
                               job->written, job->report.left_out, job->report.path);
    }
    return code;
}

static int export_all(struct job *job)
{
    struct sc_cli *cli = job->cli;
    char why[SC_WHY_SIZE] = "";
    struct sc_progress progress;
    int code = sc_cli_connect(cli);
    if (code != SC_CLI_DONE) {
        return code;
    }
    sc_cli_catch_ends(); /* before there is a file that must not stay */
    if (!sc_export_file_open(&job->file, job->target, cli->out, why)) {
        return sc_cli_complain(cli, SC_CLI_USAGE, "export: %s", why);
    }
    bool records_on_terminal = job->file.path == NULL && cli->out_terminal;
    sc_progress_init(&progress, cli->err, cli->err_terminal && !records_on_terminal, "export",
                     "records");
    code = open_snapshot(job);
    if (code != SC_CLI_DONE) {
        (void)sc_export_file_close(&job->file, false, why);
        return code;
    }
    read_snapshot(job, &progress);
    close_snapshot(job);
    return finish(job, &progress);
}

int sc_cli_export(struct sc_cli *cli, const struct sc_cli_args *args)
{
    struct job *job = sc_calloc(1, sizeof *job);
    job->cli = cli;
    job->target = args->words[0];
    job->report_path = sc_cli_args_option(args, "report");
    job->absolute = sc_cli_args_option(args, "absolute") != NULL;
    pthread_mutex_init(&job->lock, NULL);
    pthread_cond_init(&job->ended, NULL);
    int code = export_all(job);
    for (size_t i = 0; i < job->part_count; i++) {
        sc_buf_fini(&job->parts[i].cursor);
    }
    free(job->parts);
    sc_import_report_fini(&job->report);
    pthread_cond_destroy(&job->ended);
    pthread_mutex_destroy(&job->lock);
    free(job);
    return code;
}
