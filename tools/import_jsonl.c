/* Import of JSON lines. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/json.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/mp.h"
#include "tools/import.h"

#define READ_SIZE ((size_t)256 << 10)
/* A line of a value at its limit, every byte of it escaped, and its key. */
#define LINE_MAX_SIZE ((size_t)4 * SC_MESSAGE_MAX_DEFAULT)
#define EXPIRES_MS_MAX ((uint64_t)1 << 53) /* what every program can write exactly */

struct sc_import_reader {
    int fd;
    bool end; /* the file has nothing more */
    uint64_t line;
    uint64_t read; /* bytes handed out as lines */
    uint64_t size; /* of the file; 0: not known */
    struct sc_buf input;
    size_t at; /* where in the input the next line begins */
    struct sc_buf packed; /* the present line as msgpack */
};

static struct sc_import_reader *jsonl_open(const char *path,
                                           const struct sc_import_options *options, char *why)
{
    (void)options;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        sc_fail(why, SC_IO, "cannot read %s: %s", path, strerror(errno));
        if (fd >= 0 && !is_stdin) {
            close(fd);
        }
        return NULL;
    }
    if (S_ISDIR(info.st_mode)) {
        sc_fail(why, SC_BADREQUEST, "%s is a directory, not a file of JSON lines", path);
        close(fd);
        return NULL;
    }
    struct sc_import_reader *reader = sc_calloc(1, sizeof *reader);
    reader->fd = fd;
    reader->size = S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    return reader;
}

static void jsonl_close(struct sc_import_reader *reader)
{
    if (reader->fd != STDIN_FILENO) {
        close(reader->fd);
    }
    sc_buf_fini(&reader->input);
    sc_buf_fini(&reader->packed);
    free(reader);
}

static void jsonl_position(const struct sc_import_reader *reader, uint64_t *at, uint64_t *size)
{
    *at = reader->read;
    *size = reader->size;
}

/* Reads more of the file behind what is there. False when that fails. */
static bool fill(struct sc_import_reader *reader)
{
    if (reader->at > 0) {
        sc_buf_consume(&reader->input, reader->at);
        reader->at = 0;
    }
    ssize_t got;
    do {
        got = read(reader->fd, sc_buf_reserve(&reader->input, READ_SIZE), READ_SIZE);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return false;
    }
    reader->end = got == 0;
    reader->input.size += (size_t)got;
    return true;
}

enum line_result { LINE, LINE_TOO_LONG, LINE_END, LINE_FAILED };

/* Gives the next line without its end. An overlong one is read over, in pieces. */
static enum line_result next_line(struct sc_import_reader *reader, struct sc_slice *line)
{
    size_t searched = 0;
    bool too_long = false;
    for (;;) {
        const uint8_t *start = reader->input.data + reader->at;
        size_t left = reader->input.size - reader->at;
        const uint8_t *end =
            left > searched ? memchr(start + searched, '\n', left - searched) : NULL;
        if (end != NULL || (reader->end && left > 0)) {
            size_t size = end != NULL ? (size_t)(end - start) : left;
            reader->at += size + (end != NULL);
            reader->read += size + (end != NULL);
            reader->line++;
            *line = sc_slice(start, size);
            return too_long ? LINE_TOO_LONG : LINE;
        }
        if (reader->end) {
            return LINE_END;
        }
        searched = left;
        if (left > LINE_MAX_SIZE) {
            too_long = true;
            reader->at += left;
            reader->read += left;
            searched = 0;
        }
        if (!fill(reader)) {
            return LINE_FAILED;
        }
    }
}

static bool is_blank(struct sc_slice line)
{
    const char *text = line.data;
    for (size_t i = 0; i < line.size; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* Takes a member that is an integer from 1 on, or null for none. */
static bool read_time(struct sc_mp *mp, const char *name, uint64_t max, uint64_t *time, char *why)
{
    *time = 0;
    if (sc_mp_peek(mp) == SC_MP_NIL) {
        return sc_mp_nil(mp);
    }
    if (sc_mp_uint(mp, time) && *time >= 1 && *time <= max) {
        return true;
    }
    sc_fail(why, SC_BADREQUEST, "\"%s\" is no integer from 1 to %" PRIu64, name, max);
    return false;
}

/* Takes one member of the object apart. */
static bool read_member(struct sc_mp *mp, struct sc_import_record *record, bool *has_value,
                        char *why)
{
    struct sc_slice name = {NULL, 0};
    struct sc_slice skipped = {NULL, 0};
    if (!sc_mp_str(mp, &name)) {
        sc_fail(why, SC_BADREQUEST, "not an object with text as its names");
        return false;
    }
    if (sc_slice_equal(name, sc_slice_str("key"))) {
        if (sc_mp_bytes(mp, &record->key)) {
            return true;
        }
        sc_fail(why, SC_BADREQUEST, "\"key\" is neither a string nor {\"$bin\": base64}");
        return false;
    }
    if (sc_slice_equal(name, sc_slice_str("value"))) {
        *has_value = sc_mp_skip(mp, &record->value);
        return *has_value;
    }
    if (sc_slice_equal(name, sc_slice_str("ttl_ms"))) {
        return read_time(mp, "ttl_ms", SC_TTL_MS_MAX, &record->ttl_ms, why);
    }
    if (sc_slice_equal(name, sc_slice_str("expires_ms"))) {
        return read_time(mp, "expires_ms", EXPIRES_MS_MAX, &record->expires_ms, why);
    }
    sc_fail(why, SC_BADREQUEST,
            "unknown member \"%.*s\": a record has \"key\", \"value\" and perhaps \"ttl_ms\" or "
            "\"expires_ms\"",
            (int)(name.size < 60 ? name.size : 60), (const char *)name.data);
    return sc_mp_skip(mp, &skipped) && false;
}

static bool read_record(struct sc_slice packed, struct sc_import_record *record, char *why)
{
    struct sc_mp mp = sc_mp(packed);
    uint32_t members = 0;
    bool has_value = false;
    if (!sc_mp_map(&mp, &members)) {
        sc_fail(why, SC_BADREQUEST, "not an object with \"key\" and \"value\"");
        return false;
    }
    for (uint32_t i = 0; i < members; i++) {
        if (!read_member(&mp, record, &has_value, why)) {
            return false;
        }
    }
    if (record->key.data == NULL || !has_value) {
        sc_fail(why, SC_BADREQUEST, "\"%s\" is missing", has_value ? "key" : "value");
        return false;
    }
    if (record->ttl_ms != 0 && record->expires_ms != 0) {
        sc_fail(why, SC_BADREQUEST, "both \"ttl_ms\" and \"expires_ms\"");
        return false;
    }
    return sc_import_check_key(record, why) == SC_IMPORT_RECORD;
}

/* A record that can be put may have expired, or do so later than can be. */
static enum sc_import_result judge_expiry(struct sc_import_record *record, char *why)
{
    uint64_t now_ms = sc_clock_wall_us() / 1000;
    if (record->expires_ms == 0) {
        return SC_IMPORT_RECORD;
    }
    if (record->expires_ms <= now_ms) {
        record->kind = SC_IMPORT_EXPIRED;
        sc_why(why, "the record has expired");
        return SC_IMPORT_NOTE;
    }
    if (record->expires_ms - now_ms > SC_TTL_MS_MAX) {
        sc_why(why, "\"expires_ms\" is more than 100 years away");
        return SC_IMPORT_LEFT_OUT;
    }
    return SC_IMPORT_RECORD;
}

static enum sc_import_result jsonl_next(struct sc_import_reader *reader,
                                        struct sc_import_record *record, char *why)
{
    struct sc_slice line = {NULL, 0};
    enum line_result result;
    do {
        result = next_line(reader, &line);
    } while (result == LINE && is_blank(line));
    *record = (struct sc_import_record){.number = reader->line, .kind = SC_IMPORT_NO_RECORD};
    switch (result) {
    case LINE_END:
        return SC_IMPORT_END;
    case LINE_FAILED:
        sc_fail(why, SC_IO, "reading failed: %s", strerror(errno));
        return SC_IMPORT_FAILED;
    case LINE_TOO_LONG:
        record->kind = SC_IMPORT_LARGE_VALUE;
        sc_fail(why, SC_TOOLARGE, "the line is too long for any record");
        return SC_IMPORT_LEFT_OUT;
    case LINE:
        break;
    }
    reader->packed.size = 0;
    if (sc_json_read(line, &reader->packed, why) != SC_OK ||
        !read_record(sc_buf_slice(&reader->packed), record, why)) {
        return SC_IMPORT_LEFT_OUT;
    }
    return judge_expiry(record, why);
}

const struct sc_import_format sc_import_jsonl = {
    .name = "jsonl",
    .unit = "line",
    .open = jsonl_open,
    .next = jsonl_next,
    .position = jsonl_position,
    .close = jsonl_close,
};
