#include "shard/offline.h"

#include "common/clock.h"
#include "common/jsontext.h"
#include "common/utf8.h"
#include "shard/bitcask.h"
#include "shard/scrub.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SHOWN 24 /* bytes of a key in a table */
#define PROGRESS_NS UINT64_C(200000000)

struct report {
    const struct sc_offline_output *output;
    struct sc_scrub *scrub;
    struct sc_bitcask *store;
    uint64_t damages;
    uint64_t notes;
    uint64_t drawn_ns; /* progress */
    bool drawn;
    bool head; /* the table's was printed */
    struct sc_buf line;
};

/* ---- Progress ---- */

static void draw(struct report *report, const char *doing, uint64_t done, uint64_t total)
{
    uint64_t now = sc_clock_mono_ns();
    if (report->output->err_terminal && now - report->drawn_ns >= PROGRESS_NS) {
        report->drawn_ns = now;
        report->drawn = true;
        fprintf(report->output->err, "\r\033[K%s: %" PRIu64 " of %" PRIu64 " MiB", doing,
                done >> 20, total >> 20);
        fflush(report->output->err);
    }
}

static void erase(struct report *report)
{
    if (report->drawn) {
        fputs("\r\033[K", report->output->err);
        fflush(report->output->err);
        report->drawn = false;
    }
}

static void on_open_progress(void *arg, uint64_t done, uint64_t total)
{
    draw(arg, "opening", done, total);
}

/* ---- Findings ---- */

static void put_text(struct sc_buf *line, const char *text)
{
    sc_buf_append(line, text, strlen(text));
}

static void print_json(struct report *report, const struct sc_damage *damage, const char *file,
                       const char *meaning)
{
    struct sc_buf *line = &report->line;
    char numbers[96];
    line->size = 0;
    put_text(line, "{\"file\":");
    sc_jsontext_string(line, sc_slice_str(file));
    (void)snprintf(numbers, sizeof numbers, ",\"offset\":%" PRIu64 ",\"size\":%" PRIu64,
                   damage->offset, damage->size);
    put_text(line, numbers);
    put_text(line, ",\"kind\":");
    sc_jsontext_string(line, sc_slice_str(sc_damage_name(damage->kind)));
    if (damage->key.data != NULL) {
        put_text(line, ",\"key\":");
        sc_jsontext_key(line, damage->key);
        put_text(line, damage->live ? ",\"live\":true" : ",\"live\":false");
    }
    put_text(line, damage->unreadable ? ",\"unreadable\":true" : "");
    put_text(line, sc_damage_is_note(damage) ? ",\"damage\":false" : ",\"damage\":true");
    put_text(line, ",\"meaning\":");
    sc_jsontext_string(line, sc_slice_str(meaning));
    put_text(line, "}\n");
    fwrite(line->data, 1, line->size, report->output->out);
}

/* A key as a table shows it: cut when it is long. */
static void put_key(struct sc_buf *line, struct sc_slice key)
{
    size_t size = key.size < KEY_SHOWN ? key.size : KEY_SHOWN;
    while (size > 0 && size < key.size && sc_utf8_valid(key) &&
           !sc_utf8_valid(sc_slice(key.data, size))) {
        size--;
    }
    sc_jsontext_key(line, sc_slice(key.data, size));
    put_text(line, size < key.size ? "..." : "");
}

static void print_row(struct report *report, const struct sc_damage *damage, const char *file,
                      const char *meaning)
{
    struct sc_buf *line = &report->line;
    if (!report->head) {
        fprintf(report->output->out, "%-15s %12s %12s  %-9s %s\n", "FILE", "OFFSET", "SIZE", "KIND",
                "WHAT IT MEANS");
        report->head = true;
    }
    line->size = 0;
    if (damage->key.data != NULL) {
        put_text(line, "key ");
        put_key(line, damage->key);
        put_text(line, ": ");
    }
    put_text(line, meaning);
    put_text(line, damage->unreadable ? " (the disk gives an error)" : "");
    fprintf(report->output->out, "%-15s %12" PRIu64 " %12" PRIu64 "  %-9s %.*s\n", file,
            damage->offset, damage->size, sc_damage_name(damage->kind), (int)line->size,
            (const char *)line->data);
}

static void print(struct report *report, const struct sc_damage *damage, const char *meaning)
{
    char file[SC_FILES_NAME_SIZE];
    sc_damage_file(damage, file);
    erase(report);
    if (sc_damage_is_note(damage)) {
        report->notes++;
    } else {
        report->damages++;
    }
    if (report->output->out_terminal) {
        print_row(report, damage, file, meaning);
    } else {
        print_json(report, damage, file, meaning);
    }
    fflush(report->output->out);
}

static void on_found(void *arg, const struct sc_damage *damage)
{
    print(arg, damage, sc_damage_meaning(damage));
}

/* ---- Checking ---- */

static void no_lock(void *arg)
{
    (void)arg; /* there is no other thread */
}

static bool on_proceed(void *arg, uint64_t bytes)
{
    struct report *report = arg;
    struct sc_scrub_figures figures;
    (void)bytes;
    sc_scrub_figures(report->scrub, &figures);
    draw(report, "checking", figures.bytes_done, figures.bytes);
    return true;
}

static void no_begin(void *arg, uint64_t file)
{
    (void)arg;
    (void)file;
}

static void no_end(void *arg, uint64_t file, bool whole)
{
    (void)arg;
    (void)file;
    (void)whole;
}

/* The scrub finds everything that opening tells of. */
static void no_event(void *arg, const struct sc_bitcask_event *event)
{
    (void)arg;
    (void)event;
}

static enum sc_status open_store(struct report *report, const char *dir, char *why)
{
    const struct sc_bitcask_options options = {
        .file_size_max = SC_BITCASK_FILE_SIZE_DEFAULT,
        .value_max = SC_VALUE_MAX_DEFAULT,
        .sync_ms = SC_BITCASK_SYNC_NEVER,
        .read_only = true,
        .salvage = true,
        .on_progress = on_open_progress,
        .progress_arg = report,
    };
    enum sc_status status = sc_bitcask_open(dir, &options, no_event, NULL, &report->store, why);
    erase(report);
    return status;
}

static void print_summary(struct report *report, const char *dir)
{
    struct sc_scrub_figures figures;
    sc_scrub_figures(report->scrub, &figures);
    fprintf(report->output->err,
            "%s: %" PRIu64 " data files with %" PRIu64 " bytes were read; %" PRIu64
            " damaged places, %" PRIu64 " notes\n",
            dir, figures.files, figures.bytes_done, report->damages, report->notes);
}

enum sc_offline_exit sc_offline_check(const char *dir, const struct sc_offline_output *output)
{
    char why[SC_WHY_SIZE] = "";
    struct report report = {.output = output};
    enum sc_status status = open_store(&report, dir, why);
    if (status == SC_CORRUPT) {
        const struct sc_damage damage = {.kind = SC_DAMAGE_MANIFEST};
        print(&report, &damage, why);
    }
    if (status == SC_OK) {
        const struct sc_scrub_host host = {no_lock,  no_lock, on_proceed, no_begin,
                                           on_found, no_end,  &report};
        report.scrub = sc_scrub_alloc(report.store);
        status = sc_scrub_run(report.scrub, &host, true, true, why);
        erase(&report);
        print_summary(&report, dir);
        sc_scrub_free(report.scrub);
        (void)sc_bitcask_close(report.store); /* it was opened for reading only */
    }
    sc_buf_fini(&report.line);
    if (status != SC_OK) {
        fprintf(output->err, "%s\n", why);
    }
    if (report.damages > 0) {
        return SC_OFFLINE_DAMAGED;
    }
    return status == SC_OK ? SC_OFFLINE_CLEAN : SC_OFFLINE_FAILED;
}
