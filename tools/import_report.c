#include "tools/import_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/json.h"
#include "common/mp.h"
#include "common/utf8.h"

/* Kinds from this one on are only ever noted. */
#define FIRST_NOTE SC_IMPORT_EXPIRED

static void open_file(struct sc_import_report *report)
{
    report->file = fopen(report->path, "we");
    if (report->file == NULL) {
        report->error = errno;
    }
}

/* "dump.rdb.import-report.jsonl" for "/var/lib/redis/dump.rdb". */
static char *default_path(const char *subject, const char *source)
{
    size_t size = strlen(source);
    while (size > 1 && source[size - 1] == '/') {
        size--;
    }
    const char *slash = memrchr(source, '/', size);
    const char *name = slash != NULL ? slash + 1 : source;
    size -= (size_t)(name - source);
    if (size == 0 || strcmp(source, "-") == 0) {
        name = "shardcask";
        size = strlen(name);
    }
    size_t room = size + strlen(subject) + sizeof ".-report.jsonl";
    char *path = sc_alloc(room);
    (void)snprintf(path, room, "%.*s.%s-report.jsonl", (int)size, name, subject);
    return path;
}

void sc_import_report_init(struct sc_import_report *report, const struct sc_import_format *format,
                           const char *subject, const char *source, const char *path)
{
    *report = (struct sc_import_report){.format = format};
    if (path == NULL) {
        report->path = default_path(subject, source);
        return;
    }
    report->path = sc_alloc(strlen(path) + 1);
    memcpy(report->path, path, strlen(path) + 1);
    open_file(report);
}

static void put_text(struct sc_buf *out, const char *name, const char *text)
{
    sc_mp_put_cstr(out, name);
    sc_mp_put_cstr(out, text);
}

/* Writes one line. */
static void list(struct sc_import_report *report, const struct sc_import_record *record, int status,
                 bool noted, const char *why)
{
    if (report->file == NULL && report->error == 0) {
        open_file(report);
    }
    if (report->file == NULL) {
        return;
    }
    bool has_key = record->key.size > 0;
    struct sc_buf packed = {0};
    struct sc_buf line = {0};
    sc_mp_put_map(&packed, 3u + (record->file != NULL) + has_key + (status != 0 ? 1u : 0u) + noted);
    if (record->file != NULL) {
        put_text(&packed, "file", record->file);
    }
    sc_mp_put_cstr(&packed, report->format->unit);
    sc_mp_put_uint(&packed, record->number);
    if (has_key) {
        sc_mp_put_cstr(&packed, "key");
        if (sc_utf8_valid(record->key)) {
            sc_mp_put_str(&packed, record->key);
        } else {
            sc_mp_put_bin(&packed, record->key);
        }
    }
    put_text(&packed, "kind", sc_import_kind_text(record->kind));
    put_text(&packed, "error", why);
    if (status != 0) {
        sc_mp_put_cstr(&packed, "status");
        sc_mp_put_int(&packed, status);
    }
    if (noted) {
        sc_mp_put_cstr(&packed, "noted");
        sc_mp_put_bool(&packed, true);
    }
    (void)sc_json_write(sc_buf_slice(&packed), &line, NULL); /* it is well formed */
    sc_buf_append(&line, "\n", 1);
    if (fwrite(line.data, 1, line.size, report->file) != line.size) {
        report->error = errno;
    }
    report->listed++;
    sc_buf_fini(&line);
    sc_buf_fini(&packed);
}

void sc_import_report_leave_out(struct sc_import_report *report,
                                const struct sc_import_record *record, int status, const char *why)
{
    report->left_out++;
    report->counts[record->kind]++;
    list(report, record, status, false, why);
}

void sc_import_report_note(struct sc_import_report *report, const struct sc_import_record *record,
                           const char *why)
{
    report->counts[record->kind]++;
    if (record->kind != SC_IMPORT_EXPIRED) {
        list(report, record, 0, true, why);
    }
}

int sc_import_report_close(struct sc_import_report *report)
{
    if (report->file != NULL && fclose(report->file) != 0 && report->error == 0) {
        report->error = errno;
    }
    report->file = NULL;
    return report->error;
}

/* Appends the kinds from `first` to before `end` that were counted. */
static void put_counts(const struct sc_import_report *report, unsigned first, unsigned end,
                       struct sc_buf *out)
{
    uint32_t kinds = 0;
    for (unsigned kind = first; kind < end; kind++) {
        kinds += report->counts[kind] > 0;
    }
    sc_mp_put_map(out, kinds);
    for (unsigned kind = first; kind < end; kind++) {
        if (report->counts[kind] > 0) {
            sc_mp_put_cstr(out, sc_import_kind_text((enum sc_import_kind)kind));
            sc_mp_put_uint(out, report->counts[kind]);
        }
    }
}

void sc_import_report_put(const struct sc_import_report *report, struct sc_buf *out)
{
    sc_mp_put_cstr(out, "reasons");
    put_counts(report, 0, FIRST_NOTE, out);
    sc_mp_put_cstr(out, "notes");
    put_counts(report, FIRST_NOTE, SC_IMPORT_KINDS, out);
}

void sc_import_report_fini(struct sc_import_report *report)
{
    (void)sc_import_report_close(report); /* who wants to know has asked before */
    free(report->path);
}
