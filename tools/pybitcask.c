#include "tools/pybitcask.h"

#include "common/bytes.h"

#define HEAD_SIZE 4u
#define JSON_START "{\"key\": \""

/* How many bytes may be looked at in vain at first, and more for each byte passed. */
#define EFFORT ((int64_t)1 << 20)
#define EFFORT_PER_BYTE 16

/* ---- protobuf ---- */

/* What is left of a message. */
struct message {
    const uint8_t *at;
    const uint8_t *end;
};

static bool read_varint(struct message *m, uint64_t *value)
{
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        uint8_t byte = *m->at++;
        /* Nobody writes groups of zeros at the end: what looks like it has been cut off. */
        if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0)) {
            return false;
        }
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return true;
        }
    }
    return false;
}

/* Reads the tag of a field if that is what comes next. */
static bool read_tag(struct message *m, uint8_t tag)
{
    if (m->at == m->end || *m->at != tag) {
        return false;
    }
    m->at++;
    return true;
}

static bool read_bytes(struct message *m, struct sc_slice *bytes)
{
    uint64_t size = 0;
    if (!read_varint(m, &size) || size == 0 || size > (size_t)(m->end - m->at)) {
        return false;
    }
    *bytes = sc_slice(m->at, (size_t)size);
    m->at += size;
    return true;
}

static bool read_message(struct message *m, struct sc_pybitcask_record *record)
{
    uint64_t time_ms = 0;
    uint64_t deleted = 0;
    record->key = sc_slice("", 0);
    record->value = sc_slice("", 0);
    if (read_tag(m, 0x0a) && !read_bytes(m, &record->key)) {
        return false;
    }
    if (read_tag(m, 0x12) && !read_bytes(m, &record->value)) {
        return false;
    }
    if (!read_tag(m, 0x18) || !read_varint(m, &time_ms) || time_ms == 0 || time_ms > INT64_MAX) {
        return false;
    }
    if (read_tag(m, 0x20) && (!read_varint(m, &deleted) || deleted != 1)) {
        return false;
    }
    record->time_ms = (int64_t)time_ms;
    record->deleted = deleted == 1;
    record->key_is_json = false;
    return m->at == m->end && record->deleted == (record->value.size == 0);
}

static bool has_control(struct sc_slice bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < bytes.size; i++) {
        if (at[i] < 0x20) {
            return true;
        }
    }
    return false;
}

static bool read_protobuf(struct sc_slice bytes, struct sc_pybitcask_record *record)
{
    if (bytes.size < HEAD_SIZE) {
        return false;
    }
    size_t size = sc_be32_get(bytes.data);
    if (size > bytes.size - HEAD_SIZE) {
        return false;
    }
    const uint8_t *start = (const uint8_t *)bytes.data + HEAD_SIZE;
    struct message m = {start, start + size};
    record->size = HEAD_SIZE + size;
    return read_message(&m, record);
}

/* ---- JSON: only as far as needed to know where each member of the record is ---- */

struct text {
    const uint8_t *at;
    const uint8_t *end;
};

static void skip_blanks(struct text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\r')) {
        t->at++;
    }
}

static bool skip_char(struct text *t, char c)
{
    skip_blanks(t);
    if (t->at == t->end || *t->at != (uint8_t)c) {
        return false;
    }
    t->at++;
    return true;
}

/* Steps over a string and gives it with its quotes. */
static bool read_string(struct text *t, struct sc_slice *string)
{
    skip_blanks(t);
    const uint8_t *from = t->at;
    if (!skip_char(t, '"')) {
        return false;
    }
    bool escaped = false;
    for (; t->at < t->end && *t->at != '\n' && (escaped || *t->at != '"'); t->at++) {
        escaped = !escaped && *t->at == '\\';
    }
    if (!skip_char(t, '"')) {
        return false;
    }
    *string = sc_slice(from, (size_t)(t->at - from));
    return true;
}

/* Steps over a value of any kind: up to the comma or brace that ends it. What is inside of its
 * brackets is not looked at but for strings. A record is one line, so a newline is an error. */
static bool read_extent(struct text *t, struct sc_slice *value)
{
    size_t depth = 0;
    struct sc_slice string;
    skip_blanks(t);
    const uint8_t *from = t->at;
    for (; t->at < t->end && *t->at != '\n'; t->at++) {
        uint8_t c = *t->at;
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            *value = sc_slice(from, (size_t)(t->at - from));
            return value->size > 0;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '"') {
            if (!read_string(t, &string)) {
                return false;
            }
            t->at--;
        }
    }
    return false;
}

static bool read_time(struct sc_slice text, int64_t *time_ms)
{
    const uint8_t *at = text.data;
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (at[i] < '0' || at[i] > '9' || value > (INT64_MAX - 9) / 10) {
            return false;
        }
        value = value * 10 + (at[i] - (uint8_t)'0');
    }
    *time_ms = (int64_t)value;
    return text.size > 0;
}

/* Reads one member of the record. */
static bool read_member(struct text *t, struct sc_pybitcask_record *record)
{
    struct sc_slice name;
    struct sc_slice extent;
    if (!read_string(t, &name) || !skip_char(t, ':')) {
        return false;
    }
    if (sc_slice_equal(name, sc_slice_str("\"key\""))) {
        return read_string(t, &record->key);
    }
    if (sc_slice_equal(name, sc_slice_str("\"value\""))) {
        return read_extent(t, &record->value);
    }
    if (sc_slice_equal(name, sc_slice_str("\"timestamp\""))) {
        return read_extent(t, &extent) && read_time(extent, &record->time_ms);
    }
    record->deleted = true;
    return sc_slice_equal(name, sc_slice_str("\"deleted\"")) && read_extent(t, &extent) &&
           sc_slice_equal(extent, sc_slice_str("true"));
}

/* Reads a record; t->at is where it stopped, also when there is none. */
static bool read_json(struct text *t, struct sc_pybitcask_record *record)
{
    const uint8_t *from = t->at;
    *record = (struct sc_pybitcask_record){.time_ms = -1, .key_is_json = true};
    if (!skip_char(t, '{')) {
        return false;
    }
    do {
        if (!read_member(t, record)) {
            return false;
        }
    } while (skip_char(t, ','));
    if (!skip_char(t, '}') || record->key.size == 0 || record->value.size == 0 ||
        record->time_ms < 0) {
        return false;
    }
    if (record->deleted) {
        record->value = sc_slice("", 0);
    }
    if (t->at < t->end && *t->at == '\n') {
        t->at++;
    }
    record->size = (size_t)(t->at - from);
    return true;
}

/* ---- Either ---- */

/* Whether a whole JSON record with all its signs begins at `at`. Takes what is looked at in vain
 * from `effort`. */
static bool is_json_record(const uint8_t *at, const uint8_t *end, int64_t *effort)
{
    static const char start[] = JSON_START;
    struct sc_pybitcask_record record;
    if ((size_t)(end - at) < sizeof start || memcmp(at, start, sizeof start - 1) != 0 ||
        *effort <= 0) {
        return false;
    }
    struct text t = {at, end};
    if (read_json(&t, &record) && t.at[-1] == '\n') {
        return true;
    }
    *effort -= t.at - at;
    return false;
}

size_t sc_pybitcask_find(struct sc_slice bytes, size_t from)
{
    const uint8_t *start = bytes.data;
    const uint8_t *end = start + bytes.size;
    struct sc_pybitcask_record record;
    /* So that many beginnings of records inside each other take no longer than a constant times
     * their size. */
    int64_t effort = EFFORT;
    for (const uint8_t *at = start + from; at < end; at++, effort += EFFORT_PER_BYTE) {
        if (*at == '{' && is_json_record(at, end, &effort)) {
            return (size_t)(at - start);
        }
        /* Longer ones, of 16 MiB and more, begin with something else; they are not looked for. */
        if (*at == 0 && read_protobuf(sc_slice(at, (size_t)(end - at)), &record)) {
            return (size_t)(at - start);
        }
    }
    return bytes.size;
}

/* Whether a whole record is inside of a protobuf record, which has then been cut off and appended
 * to: where as much is missing as the next record has, the end of that one completes it. Such a
 * record has the next one's size in its key or value, and control characters with it. */
static bool has_swallowed(struct sc_slice bytes, const struct sc_pybitcask_record *record)
{
    return (has_control(record->key) || has_control(record->value)) &&
           sc_pybitcask_find(sc_slice(bytes.data, record->size), 1) < record->size;
}

bool sc_pybitcask_read(struct sc_slice bytes, struct sc_pybitcask_record *record)
{
    const uint8_t *at = bytes.data;
    if (bytes.size > 0 && *at == '{') {
        struct text t = {at, at + bytes.size};
        return read_json(&t, record);
    }
    return read_protobuf(bytes, record) && !has_swallowed(bytes, record);
}
