#include "tools/transfer.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mp.h"
#include "common/msg.h"
#include "tools/cli_output.h"
#include "tools/import_report.h"
#include "tools/progress.h"
#include "tools/sender.h"

#define SHOWN_MAX 5u /* of what was left out, so many are shown; the report has all */

/* A transfer under way. */
struct job {
    struct sc_cli *cli;
    const struct sc_transfer *transfer;
    const struct sc_import_format *format;
    struct sc_import_reader *reader;
    struct sc_import_report report;
    struct sc_progress progress;
    struct sc_sender sender;
    uint64_t stored;
    uint64_t kept; /* were there already */
    uint64_t shown;
    int unreachable; /* the status that ended it early; 0: none did */
    char why[SHARDCASK_WHY_SIZE]; /* of that */
};

/* Shows one of the first few that are left out or noted. */
static void show(struct job *job, const struct sc_import_record *record, const char *what,
                 const char *why)
{
    if (job->shown++ >= SHOWN_MAX) {
        return;
    }
    sc_progress_clear(&job->progress);
    sc_cli_complain(job->cli, 0, "%s: %s%s%s %" PRIu64 " %s: %s", job->transfer->subject,
                    record->file != NULL ? record->file : "", record->file != NULL ? " " : "",
                    job->format->unit, record->number, what, why);
}

static void leave_out(struct job *job, const struct sc_import_record *record, int status,
                      const char *why)
{
    show(job, record, "left out", why);
    sc_import_report_leave_out(&job->report, record, status, why);
}

static void note(struct job *job, const struct sc_import_record *record, const char *why)
{
    if (record->kind != SC_IMPORT_EXPIRED) {
        show(job, record, "noted", why);
    }
    sc_import_report_note(&job->report, record, why);
}

/* Takes the results of a chunk in. */
static void take_results(struct job *job, struct sc_sender_chunk *chunk)
{
    if (chunk == NULL) {
        return;
    }
    if (chunk->status == SHARDCASK_UNAVAILABLE || chunk->status == SHARDCASK_UNKNOWN) {
        job->unreachable = chunk->status;
        memcpy(job->why, chunk->why, sizeof job->why);
    }
    for (size_t i = 0; i < chunk->count; i++) {
        const struct shardcask_op *op = &chunk->ops[i];
        int status = chunk->status != SHARDCASK_OK ? chunk->status : op->status;
        bool kept = status == SHARDCASK_MISMATCH && (op->options.flags & SHARDCASK_IF_VERSION) != 0;
        job->stored += status == SHARDCASK_OK ? 1 : 0;
        job->kept += kept ? 1 : 0;
        if (status == SHARDCASK_OK || kept) {
            continue;
        }
        if (status == SHARDCASK_UNAVAILABLE && job->unreachable == 0) {
            job->unreachable = status; /* a shard is down */
            snprintf(job->why, sizeof job->why, "%s", op->why != NULL ? op->why : "");
        }
        struct sc_import_record record = {
            .key = sc_slice(op->key, op->key_size),
            .number = chunk->numbers[i],
            .file = chunk->files[i],
            .kind = status == SHARDCASK_TOOLARGE ? SC_IMPORT_LARGE_VALUE : SC_IMPORT_REFUSED,
        };
        const char *why = op->why != NULL ? op->why : chunk->why;
        leave_out(job, &record, status, *why != '\0' ? why : shardcask_status_text(status));
    }
    sc_sender_empty(chunk);
}

static void show_progress(struct job *job)
{
    uint64_t at = 0;
    uint64_t size = 0;
    job->format->position(job->reader, &at, &size);
    sc_progress_update(&job->progress, at, size, job->stored);
}

/* Reads the whole source and sends what is in it. False when it could not be read to its end (`why`
 * says why) or the import was interrupted. */
static bool transfer(struct job *job, char *why)
{
    enum sc_import_result result = SC_IMPORT_BUSY;
    while (result != SC_IMPORT_END && result != SC_IMPORT_FAILED && job->unreachable == 0) {
        struct sc_import_record record = {0};
        struct sc_sender_chunk *chunk = sc_sender_chunk(&job->sender);
        result = job->format->next(job->reader, &record, why);
        if (result == SC_IMPORT_RECORD) {
            struct shardcask_write options = job->transfer->options;
            options.ttl_ms = record.ttl_ms;
            options.expires_ms = record.expires_ms;
            sc_sender_add(chunk, record.key, record.value, &options, record.number, record.file);
        } else if (result == SC_IMPORT_LEFT_OUT) {
            leave_out(job, &record, 0, why);
        } else if (result == SC_IMPORT_NOTE) {
            note(job, &record, why);
        } else if (result == SC_IMPORT_BUSY) {
            show_progress(job);
        }
        bool last = result == SC_IMPORT_END || result == SC_IMPORT_FAILED;
        if (sc_sender_full(chunk) || (last && chunk->count > 0)) {
            take_results(job, sc_sender_send(&job->sender));
            show_progress(job);
        }
        if (sc_cli_interrupted()) {
            sc_fail(why, SC_UNKNOWN, "interrupted");
            result = SC_IMPORT_FAILED;
        }
    }
    take_results(job, sc_sender_wait(&job->sender));
    return result != SC_IMPORT_FAILED;
}

/* Prints the figures as one line of JSON. */
static void print_figures(struct job *job)
{
    struct sc_buf packed = {0};
    bool listed = job->report.listed > 0;
    bool keeping = (job->transfer->options.flags & SHARDCASK_IF_VERSION) != 0;
    sc_mp_put_map(&packed, 5u + listed + keeping);
    sc_mp_put_cstr(&packed, job->transfer->done);
    sc_mp_put_uint(&packed, job->stored);
    if (keeping) {
        sc_mp_put_cstr(&packed, "kept");
        sc_mp_put_uint(&packed, job->kept);
    }
    sc_mp_put_cstr(&packed, "left_out");
    sc_mp_put_uint(&packed, job->report.left_out);
    sc_import_report_put(&job->report, &packed);
    if (listed) {
        sc_mp_put_cstr(&packed, "report");
        sc_mp_put_cstr(&packed, job->report.path);
    }
    sc_mp_put_cstr(&packed, "seconds");
    /* Milliseconds are all that matters. */
    double ms = sc_progress_seconds(&job->progress) * 1000;
    sc_mp_put_float(&packed, (double)(uint64_t)ms / 1000);
    (void)sc_cli_output_json(job->cli, sc_buf_slice(&packed)); /* it is well formed */
    sc_buf_fini(&packed);
}

/* Prints what was done: on standard output as JSON, failures as sentences. */
static int summarise(struct job *job, bool complete, const char *why)
{
    struct sc_cli *cli = job->cli;
    const char *subject = job->transfer->subject;
    const char *again = job->transfer->again;
    int code = SC_CLI_DONE;
    sc_progress_clear(&job->progress);
    if (job->shown > SHOWN_MAX) {
        sc_cli_complain(cli, 0, "%s: and %" PRIu64 " more, all of them in %s", subject,
                        job->shown - SHOWN_MAX, job->report.path);
    }
    print_figures(job);
    if (job->report.left_out > 0) {
        code = sc_cli_complain(cli, SC_CLI_ERROR,
                               "%s: %" PRIu64 " records stored, %" PRIu64 " left out", subject,
                               job->stored, job->report.left_out);
    }
    if (!complete) {
        bool some = job->stored > 0;
        code = sc_cli_complain(cli, SC_CLI_ERROR, "%s: %s%s%s", subject, why,
                               some ? "; what was read up to there is stored, " : "",
                               some ? again : "");
    }
    if (job->unreachable != 0) {
        code =
            sc_cli_complain(cli, SC_CLI_UNREACHABLE, "%s: the store at %s does not answer: %s; %s",
                            subject, sc_cli_url(cli), job->why, again);
    }
    return code;
}

/* Files are mapped: one that is cut short meanwhile, or that its disk cannot read, ends the
 * process here. */
static void end_on_bus_error(int signal_number)
{
    static const char text[] =
        "shardcask: the source cannot be read: it has become shorter meanwhile, or its disk fails; "
        "what was read up to there is stored\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written; /* nothing is left to be done about it */
    _exit(SC_CLI_ERROR);
}

static int complain_of_report(const struct job *job, int code)
{
    return sc_cli_complain(job->cli, code, "%s: cannot write the report %s: %s",
                           job->transfer->subject, job->report.path, strerror(job->report.error));
}

static int sync_store(struct job *job)
{
    struct sc_buf request = {0};
    struct sc_cli_reply reply = {0};
    sc_msg_put_op(&request, SC_OP_SYNC, 0);
    int code = sc_cli_ask(job->cli, job->transfer->subject, sc_buf_slice(&request), &reply);
    sc_buf_fini(&request);
    sc_cli_reply_fini(&reply);
    return code;
}

static int transfer_all(struct job *job)
{
    char why[SC_WHY_SIZE] = "";
    struct sigaction action = {.sa_handler = end_on_bus_error};
    struct sigaction before;
    int code = sc_cli_connect(job->cli);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!sc_sender_start(&job->sender, job->cli->db)) {
        return sc_cli_complain(job->cli, SC_CLI_ERROR, "%s: no thread could be started",
                               job->transfer->subject);
    }
    sc_progress_init(&job->progress, job->cli->err, job->cli->err_terminal, job->transfer->subject,
                     "records");
    sc_cli_catch_ends();
    sigaction(SIGBUS, &action, &before);
    bool complete = transfer(job, why);
    sigaction(SIGBUS, &before, NULL);
    bool reported = sc_import_report_close(&job->report) == 0;
    int synced = job->transfer->sync && job->unreachable == 0 ? sync_store(job) : SC_CLI_DONE;
    code = summarise(job, complete, why);
    sc_sender_stop(&job->sender);
    code = code == SC_CLI_DONE ? synced : code;
    return reported ? code : complain_of_report(job, code == SC_CLI_DONE ? SC_CLI_ERROR : code);
}

int sc_transfer_run(struct sc_cli *cli, const struct sc_transfer *options,
                    const struct sc_import_format *format, struct sc_import_reader *reader)
{
    struct job *job = sc_calloc(1, sizeof *job);
    *job = (struct job){.cli = cli, .transfer = options, .format = format, .reader = reader};
    sc_import_report_init(&job->report, format, options->subject, options->source,
                          options->report_path);
    int code = job->report.error == 0 ? transfer_all(job) : complain_of_report(job, SC_CLI_USAGE);
    sc_import_report_fini(&job->report);
    free(job);
    return code;
}
