/*
 * JSON -> msgpack in one pass: a recursive descent that appends each value as it is read.
 *
 * A container's head comes before its members, whose number is known only at its end: one byte is
 * left for it, which is enough for up to 15 members; the members of a longer one are moved up when
 * it closes. The escapes ({"$bin": ...}) are read like any object and rewritten when that object
 * closes with one member. Both touch a byte at most once for each container around it.
 */
#include "client/json.h"
#include "client/json_escape.h"
#include "common/base64.h"
#include "common/limits.h"
#include "common/mp.h"
#include "common/utf8.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* {"$map": [[key, value]]} is three levels of JSON for one of msgpack. */
#define DEPTH_MAX (3 * SC_NESTING_MAX + 1)

/* Longest run of characters that is a number worth reading: 2^-1074 has 767 digits. */
#define NUMBER_SIZE_MAX 1100

struct reader {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    struct sc_buf *out;
    struct sc_buf scratch; /* a string with escapes, the inside of an escape */
    unsigned depth;
    unsigned depth_seen;
    bool python; /* no escapes; NaN and Infinity */
    enum sc_json_fault fault;
    char *why;
};

static bool read_value(struct reader *r);

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *r, const char *format, ...)
{
    char what[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    size_t line = 1;
    size_t column = 1;
    for (const uint8_t *at = r->start; at < r->at; at++) {
        column = *at == '\n' ? 1 : column + 1;
        line += *at == '\n';
    }
    (void)sc_fail(r->why, SC_BADREQUEST, "not JSON: %s, at line %zu, byte %zu", what, line, column);
    return false;
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) {
        r->at++;
    }
}

/* The next character, or 0 at the end (a NUL in the text is no token either). */
static uint8_t peek(const struct reader *r)
{
    return r->at < r->end ? *r->at : 0;
}

static bool read_literal(struct reader *r, const char *text)
{
    size_t size = strlen(text);
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, text, size) != 0) {
        return fail(r, "a value is expected");
    }
    r->at += size;
    return true;
}

/* ---- Numbers ---- */

static size_t skip_digits(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *from = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        (*at)++;
    }
    return (size_t)(*at - from);
}

/* Finds the end of the number at r->at by JSON's grammar; NULL when it is none. */
static const uint8_t *number_end(const struct reader *r, bool *is_float)
{
    const uint8_t *at = r->at + (*r->at == '-');
    const uint8_t *digits = at;
    size_t count = skip_digits(&at, r->end);
    if (count == 0 || (count > 1 && *digits == '0')) {
        return NULL;
    }
    *is_float = false;
    if (at < r->end && *at == '.') {
        at++;
        *is_float = true;
        if (skip_digits(&at, r->end) == 0) {
            return NULL;
        }
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        *is_float = true;
        if (at < r->end && (*at == '+' || *at == '-')) {
            at++;
        }
        if (skip_digits(&at, r->end) == 0) {
            return NULL;
        }
    }
    return at;
}

static bool read_integer(struct reader *r, const uint8_t *end)
{
    bool negative = *r->at == '-';
    uint64_t limit = negative ? UINT64_C(1) << 63 : UINT64_MAX;
    uint64_t value = 0;
    for (const uint8_t *at = r->at + negative; at < end; at++) {
        unsigned digit = *at - '0';
        if (value > (limit - digit) / 10) {
            r->fault = SC_JSON_INTEGER;
            return fail(r, "the integer does not fit into 64 bits (write it as a string, or with "
                           "an exponent as a float)");
        }
        value = value * 10 + digit;
    }
    if (negative) {
        sc_mp_put_int(r->out, (int64_t)(0 - value));
    } else {
        sc_mp_put_uint(r->out, value);
    }
    return true;
}

static bool read_float(struct reader *r, const uint8_t *end)
{
    char text[NUMBER_SIZE_MAX + 1];
    size_t size = (size_t)(end - r->at);
    if (size > NUMBER_SIZE_MAX) {
        return fail(r, "the number has more than %d characters", NUMBER_SIZE_MAX);
    }
    memcpy(text, r->at, size);
    text[size] = '\0';
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(plain != (locale_t)0); /* glibc has it built in */
    double value = strtod_l(text, NULL, plain);
    freelocale(plain);
    if (isinf(value)) {
        return fail(r, "the number does not fit into a float");
    }
    sc_mp_put_float(r->out, value);
    return true;
}

static bool read_number(struct reader *r)
{
    bool is_float = false;
    const uint8_t *end = number_end(r, &is_float);
    if (end == NULL) {
        return fail(r, "a malformed number");
    }
    if (!(is_float ? read_float(r, end) : read_integer(r, end))) {
        return false;
    }
    r->at = end;
    return true;
}

/* ---- Strings ---- */

/* Reads the four digits of \uXXXX. */
static bool read_hex(struct reader *r, uint32_t *code)
{
    if (r->end - r->at < 4) {
        return fail(r, "four hexadecimal digits are expected");
    }
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = r->at[i];
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (uint32_t)(c | 0x20) - 'a' + 10;
        } else {
            return fail(r, "four hexadecimal digits are expected");
        }
        value = value << 4 | digit;
    }
    r->at += 4;
    *code = value;
    return true;
}

/* Reads what follows \u: one code point, written as one or as a pair of surrogates. */
static bool read_code_point(struct reader *r)
{
    uint32_t code = 0;
    if (!read_hex(r, &code)) {
        return false;
    }
    if (code >= 0xdc00 && code <= 0xdfff) {
        r->fault = SC_JSON_SURROGATE;
        return fail(r, "a low surrogate without the high one before it");
    }
    if (code >= 0xd800 && code <= 0xdbff) {
        uint32_t low = 0;
        if (r->end - r->at < 2 || r->at[0] != '\\' || r->at[1] != 'u') {
            r->fault = SC_JSON_SURROGATE;
            return fail(r, "a high surrogate without the low one behind it");
        }
        r->at += 2;
        if (!read_hex(r, &low)) {
            return false;
        }
        if (low < 0xdc00 || low > 0xdfff) {
            r->fault = SC_JSON_SURROGATE;
            return fail(r, "a high surrogate without the low one behind it");
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    sc_utf8_put(&r->scratch, code);
    return true;
}

/* Reads an escape sequence behind its backslash. */
static bool read_escape(struct reader *r)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t letter = peek(r);
    if (letter == 'u') {
        r->at++;
        return read_code_point(r);
    }
    const char *found = letter != 0 ? strchr(letters, letter) : NULL;
    if (found == NULL) {
        return fail(r, "a backslash before something that cannot be escaped");
    }
    r->at++;
    sc_buf_append(&r->scratch, &meanings[found - letters], 1);
    return true;
}

/* Steps over the characters that stand for themselves. */
static struct sc_slice plain_run(struct reader *r)
{
    const uint8_t *from = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && *r->at >= 0x20) {
        r->at++;
    }
    return sc_slice(from, (size_t)(r->at - from));
}

/* Reads a string, r->at being its opening quote, and appends it as a str. */
static bool read_string(struct reader *r)
{
    r->at++;
    struct sc_slice text = plain_run(r);
    if (peek(r) == '\\') {
        r->scratch.size = 0;
        sc_buf_append_slice(&r->scratch, text);
        while (peek(r) == '\\') {
            r->at++;
            if (!read_escape(r)) {
                return false;
            }
            sc_buf_append_slice(&r->scratch, plain_run(r));
        }
        text = sc_buf_slice(&r->scratch);
    }
    if (r->at == r->end) {
        return fail(r, "the text ends inside a string");
    }
    if (*r->at != '"') {
        return fail(r, "a control character inside a string");
    }
    if (!sc_utf8_valid(text)) {
        return fail(r, "a string that is not UTF-8");
    }
    r->at++;
    sc_mp_put_str(r->out, text);
    return true;
}

/* ---- Containers ---- */

/* Leaves one byte for the head of a container and returns where. */
static size_t open_container(struct reader *r)
{
    size_t offset = r->out->size;
    sc_buf_append(r->out, "", 1);
    return offset;
}

/* Writes the head of the container opened at `offset`, now that `count` is known. */
static void close_container(struct sc_buf *out, size_t offset, uint32_t count, bool is_map)
{
    struct sc_buf head = {0};
    if (is_map) {
        sc_mp_put_map(&head, count);
    } else {
        sc_mp_put_array(&head, count);
    }
    size_t more = head.size - 1;
    if (more > 0) {
        (void)sc_buf_reserve(out, more);
        memmove(out->data + offset + head.size, out->data + offset + 1, out->size - offset - 1);
        out->size += more;
    }
    memcpy(out->data + offset, head.data, head.size);
    sc_buf_fini(&head);
}

static bool descend(struct reader *r)
{
    r->depth++;
    r->depth_seen = r->depth > r->depth_seen ? r->depth : r->depth_seen;
    if (r->depth > DEPTH_MAX) {
        r->fault = SC_JSON_NESTING;
        return fail(r, "nested more than %u deep", SC_NESTING_MAX);
    }
    return true;
}

/* Reads what stands between two members, or behind the last: *more tells which. */
static bool read_separator(struct reader *r, uint8_t closing, bool *more)
{
    skip_space(r);
    uint8_t c = peek(r);
    if (c != ',' && c != closing) {
        return r->at == r->end ? fail(r, "the text ends too early")
                               : fail(r, "a comma or %c is expected", closing);
    }
    r->at++;
    *more = c == ',';
    return true;
}

/* True, past the closing character, when the container that has just been opened is empty. */
static bool read_empty(struct reader *r, uint8_t closing)
{
    r->at++;
    skip_space(r);
    if (peek(r) != closing) {
        return false;
    }
    r->at++;
    return true;
}

static bool read_array(struct reader *r)
{
    size_t offset = open_container(r);
    uint32_t count = 0;
    if (!descend(r)) {
        return false;
    }
    bool more = !read_empty(r, ']');
    while (more) {
        if (!read_value(r) || !read_separator(r, ']', &more)) {
            return false;
        }
        count++;
    }
    r->depth--;
    close_container(r->out, offset, count, false);
    return true;
}

static bool read_member(struct reader *r)
{
    skip_space(r);
    if (peek(r) != '"') {
        return fail(r, "a string as the name of a member is expected");
    }
    if (!read_string(r)) {
        return false;
    }
    skip_space(r);
    if (peek(r) != ':') {
        return fail(r, "a colon is expected");
    }
    r->at++;
    return read_value(r);
}

/* ---- Escapes: objects that stand for what JSON cannot say ---- */

/* Reads a str of base64 and leaves its bytes in the scratch buffer. */
static bool read_base64(struct reader *r, struct sc_mp *mp)
{
    struct sc_slice text;
    r->scratch.size = 0;
    return sc_mp_str(mp, &text) && sc_base64_decode(&r->scratch, text);
}

static bool read_float_name(struct sc_mp *mp, double *value)
{
    struct sc_slice name;
    if (!sc_mp_str(mp, &name)) {
        return false;
    }
    if (sc_slice_equal(name, sc_slice_str("nan"))) {
        *value = (double)NAN;
    } else if (sc_slice_equal(name, sc_slice_str("inf"))) {
        *value = (double)INFINITY;
    } else if (sc_slice_equal(name, sc_slice_str("-inf"))) {
        *value = -(double)INFINITY;
    } else {
        return false;
    }
    return true;
}

/* Reads [[key, value]...] and leaves the keys and values, one behind the other, in the scratch
 * buffer. */
static bool read_pairs(struct reader *r, struct sc_mp *mp, uint32_t *pairs)
{
    r->scratch.size = 0;
    if (!sc_mp_array(mp, pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < *pairs; i++) {
        uint32_t two = 0;
        struct sc_slice key;
        struct sc_slice value;
        if (!sc_mp_array(mp, &two) || two != 2 || !sc_mp_skip(mp, &key) ||
            !sc_mp_skip(mp, &value)) {
            return false;
        }
        sc_buf_append_slice(&r->scratch, key);
        sc_buf_append_slice(&r->scratch, value);
    }
    return true;
}

/* Puts in the place of the encoded value behind `mp` (everything from `offset` on) what the escape
 * stands for; false, with nothing changed, when the value does not suit the escape. */
static bool replace(struct reader *r, size_t offset, enum sc_json_escape escape, struct sc_mp *mp)
{
    uint32_t count = 0;
    int64_t type = 0;
    double number = 0;
    switch (escape) {
    case SC_JSON_BIN:
    case SC_JSON_STR:
        if (!read_base64(r, mp)) {
            return false;
        }
        r->out->size = offset;
        if (escape == SC_JSON_BIN) {
            sc_mp_put_bin(r->out, sc_buf_slice(&r->scratch));
        } else {
            sc_mp_put_str(r->out, sc_buf_slice(&r->scratch));
        }
        return true;
    case SC_JSON_EXT:
        if (!sc_mp_array(mp, &count) || count != 2 || !sc_mp_int(mp, &type) || type < INT8_MIN ||
            type > INT8_MAX || !read_base64(r, mp)) {
            return false;
        }
        r->out->size = offset;
        sc_mp_put_ext(r->out, (int8_t)type, sc_buf_slice(&r->scratch));
        return true;
    case SC_JSON_FLOAT:
        if (!read_float_name(mp, &number)) {
            return false;
        }
        r->out->size = offset;
        sc_mp_put_float(r->out, number);
        return true;
    case SC_JSON_MAP:
        if (!read_pairs(r, mp, &count)) {
            return false;
        }
        r->out->size = offset;
        sc_mp_put_map(r->out, count);
        sc_buf_append_slice(r->out, sc_buf_slice(&r->scratch));
        return true;
    case SC_JSON_NO_ESCAPE:
        break;
    }
    return true;
}

/* Ends an object of one member, which may be an escape. */
static bool close_single(struct reader *r, size_t offset)
{
    struct sc_mp mp = sc_mp(sc_slice(r->out->data + offset + 1, r->out->size - offset - 1));
    struct sc_slice name;
    bool named = sc_mp_str(&mp, &name);
    assert(named); /* read_member wrote it */
    enum sc_json_escape escape = sc_json_escape(name);
    if (escape == SC_JSON_NO_ESCAPE) {
        close_container(r->out, offset, 1, true);
        return true;
    }
    /* `name` lies in the bytes that are replaced. */
    char copy[8];
    (void)snprintf(copy, sizeof copy, "%.*s", (int)name.size, (const char *)name.data);
    if (!replace(r, offset, escape, &mp)) {
        return fail(r, "what {\"%s\": ...} holds is not what it stands for", copy);
    }
    return true;
}

static bool read_object(struct reader *r)
{
    size_t offset = open_container(r);
    uint32_t pairs = 0;
    if (!descend(r)) {
        return false;
    }
    bool more = !read_empty(r, '}');
    while (more) {
        if (!read_member(r) || !read_separator(r, '}', &more)) {
            return false;
        }
        pairs++;
    }
    r->depth--;
    if (pairs == 1 && !r->python) {
        return close_single(r, offset);
    }
    close_container(r->out, offset, pairs, true);
    return true;
}

/* ---- Values ---- */

/* Reads what Python writes for floats that JSON has no number for; false, with nothing read, when
 * it is none of them. */
static bool read_python_float(struct reader *r)
{
    static const struct {
        const char *text;
        double value;
    } floats[] = {
        {"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        size_t size = strlen(floats[i].text);
        if ((size_t)(r->end - r->at) >= size && memcmp(r->at, floats[i].text, size) == 0) {
            r->at += size;
            sc_mp_put_float(r->out, floats[i].value);
            return true;
        }
    }
    return false;
}

static bool read_value(struct reader *r)
{
    skip_space(r);
    uint8_t c = peek(r);
    switch (c) {
    case '{':
        return read_object(r);
    case '[':
        return read_array(r);
    case '"':
        return read_string(r);
    case 't':
    case 'f':
        if (!read_literal(r, c == 't' ? "true" : "false")) {
            return false;
        }
        sc_mp_put_bool(r->out, c == 't');
        return true;
    case 'n':
        if (!read_literal(r, "null")) {
            return false;
        }
        sc_mp_put_nil(r->out);
        return true;
    default:
        if (r->python && read_python_float(r)) {
            return true;
        }
        if (c == '-' || (c >= '0' && c <= '9')) {
            return read_number(r);
        }
        return r->at == r->end ? fail(r, "the text ends where a value is expected")
                               : fail(r, "a value is expected");
    }
}

static bool read_text(struct reader *r, size_t start)
{
    if (!read_value(r)) {
        return false;
    }
    skip_space(r);
    if (r->at != r->end) {
        return fail(r, "something follows behind the value");
    }
    if (r->depth_seen > SC_NESTING_MAX &&
        !sc_mp_valid(sc_slice(r->out->data + start, r->out->size - start))) {
        r->fault = SC_JSON_NESTING;
        return fail(r, "nested more than %u deep", SC_NESTING_MAX);
    }
    return true;
}

static enum sc_status read_all(struct sc_slice text, bool python, struct sc_buf *out,
                               enum sc_json_fault *fault, char *why)
{
    *fault = SC_JSON_SYNTAX;
    /* So that every length and count fits into msgpack's 32 bits. */
    if (text.size > UINT32_MAX) {
        return sc_fail(why, SC_TOOLARGE, "a JSON text of %zu bytes is too large", text.size);
    }
    struct sc_mp bounds = sc_mp(text); /* gives an empty text a pointer that is not NULL */
    struct reader r = {.start = bounds.at,
                       .at = bounds.at,
                       .end = bounds.end,
                       .out = out,
                       .python = python,
                       .fault = SC_JSON_SYNTAX,
                       .why = why};
    size_t start = out->size;
    bool ok = read_text(&r, start);
    sc_buf_fini(&r.scratch);
    *fault = r.fault;
    if (!ok) {
        out->size = start;
        return SC_BADREQUEST;
    }
    return SC_OK;
}

enum sc_status sc_json_read(struct sc_slice text, struct sc_buf *out, char *why)
{
    enum sc_json_fault fault;
    return read_all(text, false, out, &fault, why);
}

enum sc_status sc_json_read_python(struct sc_slice text, struct sc_buf *out,
                                   enum sc_json_fault *fault, char *why)
{
    return read_all(text, true, out, fault, why);
}
