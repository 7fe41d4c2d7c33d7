/* import: records of a file go into the store. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "common/msg.h"
#include "tools/cli_commands.h"
#include "tools/cli_output.h"
#include "tools/import.h"
#include "tools/progress.h"
#include "tools/sender.h"

#define SHOWN_MAX 5u /* lines that were left out and are shown; a report has all */

/* An import under way. */
struct job {
    struct sc_cli *cli;
    const struct sc_import_format *format;
    struct sc_import_reader *reader;
    FILE *report; /* NULL: none wanted */
    struct sc_progress progress;
    struct sc_sender sender;
    uint64_t stored;
    uint64_t left_out;
    int unreachable; /* the status that ended the import early; 0: none did */
    char why[SHARDCASK_WHY_SIZE]; /* of that */
};

/* Counts a record that was left out, shows the first few and writes all into the report. */
static void leave_out(struct job *job, uint64_t number, struct sc_slice key, int status,
                      const char *why)
{
    job->left_out++;
    sc_progress_clear(&job->progress);
    if (job->left_out <= SHOWN_MAX) {
        sc_cli_complain(job->cli, 0, "import: %s %" PRIu64 " left out: %s", job->format->unit,
                        number, why);
    }
    if (job->report == NULL) {
        return;
    }
    struct sc_buf packed = {0};
    struct sc_buf line = {0};
    sc_mp_put_map(&packed, key.size > 0 ? 4 : 3);
    sc_mp_put_cstr(&packed, job->format->unit);
    sc_mp_put_uint(&packed, number);
    if (key.size > 0) {
        sc_mp_put_cstr(&packed, "key");
        sc_mp_put_bin(&packed, key);
    }
    sc_mp_put_cstr(&packed, "status");
    sc_mp_put_int(&packed, status);
    sc_mp_put_cstr(&packed, "error");
    sc_mp_put_cstr(&packed, why);
    sc_json_write(sc_buf_slice(&packed), &line, NULL);
    fprintf(job->report, "%.*s\n", (int)line.size, (const char *)line.data);
    sc_buf_fini(&line);
    sc_buf_fini(&packed);
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
        if (status == SHARDCASK_OK) {
            job->stored++;
            continue;
        }
        const char *why = op->why != NULL ? op->why : chunk->why;
        leave_out(job, chunk->numbers[i], sc_slice(op->key, op->key_size), status,
                  *why != '\0' ? why : shardcask_status_text(status));
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

/* Reads the whole file and sends what is in it. False when the file could not be read to its end
 * (`why` says why) or the import was interrupted. */
static bool transfer(struct job *job, char *why)
{
    enum sc_import_result result = SC_IMPORT_RECORD;
    while (result != SC_IMPORT_END && result != SC_IMPORT_FAILED && job->unreachable == 0) {
        struct sc_import_record record;
        struct sc_sender_chunk *chunk = sc_sender_chunk(&job->sender);
        result = job->format->next(job->reader, &record, why);
        if (result == SC_IMPORT_RECORD) {
            sc_sender_add(chunk, record.key, record.value, record.ttl_ms, record.number);
        } else if (result == SC_IMPORT_BAD) {
            leave_out(job, record.number, record.key, SHARDCASK_BADREQUEST, why);
        }
        bool last = result == SC_IMPORT_END || result == SC_IMPORT_FAILED;
        if (sc_sender_full(chunk) || (last && chunk->count > 0)) {
            take_results(job, sc_sender_send(&job->sender));
            show_progress(job);
        }
        if (sc_cli_interrupted()) {
            sc_fail(why, SC_UNKNOWN, "interrupted at %s %" PRIu64, job->format->unit,
                    record.number);
            result = SC_IMPORT_FAILED;
        }
    }
    take_results(job, sc_sender_wait(&job->sender));
    return result != SC_IMPORT_FAILED;
}

/* Prints what was done: on standard output as JSON, failures as sentences. */
static int summarise(struct job *job, bool complete, const char *why, const char *report_path)
{
    struct sc_cli *cli = job->cli;
    double seconds = sc_progress_seconds(&job->progress);
    int code = SC_CLI_DONE;
    sc_progress_clear(&job->progress);
    if (job->left_out > SHOWN_MAX) {
        sc_cli_complain(cli, 0, "import: and %" PRIu64 " more%s%s", job->left_out - SHOWN_MAX,
                        report_path != NULL ? "; all are in " : "; --report FILE lists them all",
                        report_path != NULL ? report_path : "");
    }
    fprintf(cli->out, "{\"imported\":%" PRIu64 ",\"left_out\":%" PRIu64 ",\"seconds\":%.3f}\n",
            job->stored, job->left_out, seconds);
    if (job->left_out > 0) {
        code = sc_cli_complain(cli, SC_CLI_ERROR,
                               "import: %" PRIu64 " records stored, %" PRIu64 " left out",
                               job->stored, job->left_out);
    }
    if (!complete) {
        code = sc_cli_complain(cli, SC_CLI_ERROR,
                               "import: %s; what was read up to there is stored, importing the "
                               "whole file again is safe",
                               why);
    }
    if (job->unreachable != 0) {
        code = sc_cli_complain(cli, SC_CLI_UNREACHABLE,
                               "import: the store at %s does not answer: %s; importing the whole "
                               "file again is safe",
                               sc_cli_url(cli), job->why);
    }
    return code;
}

static int import_file(struct job *job, const char *report_path)
{
    char why[SC_WHY_SIZE] = "";
    int code = sc_cli_connect(job->cli);
    if (code != SC_CLI_DONE) {
        return code;
    }
    if (!sc_sender_start(&job->sender, job->cli->db)) {
        return sc_cli_complain(job->cli, SC_CLI_ERROR, "import: no thread could be started");
    }
    sc_progress_init(&job->progress, job->cli->err, job->cli->err_terminal, "import", "records");
    sc_cli_catch_interrupts();
    bool complete = transfer(job, why);
    sc_sender_stop(&job->sender);
    return summarise(job, complete, why, report_path);
}

/* Closes the report; one that could not be written is an error of its own. */
static int close_report(struct job *job, const char *path, int code)
{
    bool failed = ferror(job->report) != 0;
    if (fclose(job->report) != 0 || failed) {
        return sc_cli_complain(job->cli, code == SC_CLI_DONE ? SC_CLI_ERROR : code,
                               "import: the report %s could not be written: %s", path,
                               strerror(errno));
    }
    return code;
}

int sc_cli_import(struct sc_cli *cli, const struct sc_cli_args *args)
{
    char why[SC_WHY_SIZE] = "";
    const char *name = sc_cli_args_option(args, "format");
    const char *report_path = sc_cli_args_option(args, "report");
    struct job *job = sc_calloc(1, sizeof *job);
    int code = SC_CLI_USAGE;
    job->cli = cli;
    job->format = sc_import_format(name != NULL ? name : "jsonl");
    if (job->format == NULL) {
        sc_cli_complain(cli, code, "import: unknown format %.60s; there is: %s", name,
                        sc_import_format_names());
        goto out;
    }
    job->reader = job->format->open(args->words[0], why);
    if (job->reader == NULL) {
        sc_cli_complain(cli, code, "import: %s", why);
        goto out;
    }
    if (report_path != NULL) {
        job->report = fopen(report_path, "we");
        if (job->report == NULL) {
            sc_cli_complain(cli, code, "import: cannot write the report %s: %s", report_path,
                            strerror(errno));
            goto out;
        }
    }
    code = import_file(job, report_path);
    if (job->report != NULL) {
        code = close_report(job, report_path, code);
    }
out:
    if (job->format != NULL && job->reader != NULL) {
        job->format->close(job->reader);
    }
    free(job);
    return code;
}
