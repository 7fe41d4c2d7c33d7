/*
 * msgpack -> JSON: a walk over the value that appends its text.
 */
#include "client/json.h"
#include "client/json_escape.h"
#include "common/base64.h"
#include "common/jsontext.h"
#include "common/limits.h"
#include "common/mp.h"
#include "common/utf8.h"

#include <assert.h>
#include <fenv.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool write_value(struct sc_buf *out, struct sc_mp *mp, unsigned depth);

static void put_text(struct sc_buf *out, const char *text)
{
    sc_buf_append(out, text, strlen(text));
}

/* ---- Floats ---- */

/* Writes `value`, which is not negative, with so many digits; true when that reads back the same.
 * Of two decimals equally near, the upper one may be the one that does: printf obeys the direction.
 */
static bool try_digits(char *text, size_t size, double value, int digits, locale_t plain)
{
    static const int directions[] = {FE_TONEAREST, FE_UPWARD};
    for (size_t i = 0; i < sizeof directions / sizeof *directions; i++) {
        (void)fesetround(directions[i]);
        (void)snprintf(text, size, "%.*g", digits, value);
        (void)fesetround(FE_TONEAREST);
        if (strtod_l(text, NULL, plain) == value) {
            return true;
        }
    }
    return false;
}

/* The shortest decimal that reads back as `value`. 15 digits always survive the way through a
 * normal double, so a shorter form is what %.15g gives; below DBL_MIN there is less precision. */
static void format_float(char *text, size_t size, double value)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(plain != (locale_t)0); /* glibc has it built in */
    locale_t before_locale = uselocale(plain);
    int before_rounding = fegetround();
    int digits = value < DBL_MIN ? 1 : 15;
    while (!try_digits(text, size, value, digits, plain)) {
        digits++;
        assert(digits <= 17);
    }
    (void)fesetround(before_rounding);
    (void)uselocale(before_locale);
    freelocale(plain);
}

static void write_float(struct sc_buf *out, double value)
{
    if (isnan(value)) {
        put_text(out, "{\"$float\":\"nan\"}");
    } else if (isinf(value)) {
        put_text(out, value > 0 ? "{\"$float\":\"inf\"}" : "{\"$float\":\"-inf\"}");
    } else {
        char text[40];
        put_text(out, signbit(value) ? "-" : "");
        format_float(text, sizeof text, fabs(value));
        put_text(out, text);
        if (strpbrk(text, ".e") == NULL) {
            put_text(out, ".0"); /* or it would read back as an integer */
        }
    }
}

/* ---- Strings ---- */

static void write_base64(struct sc_buf *out, const char *before, struct sc_slice bytes,
                         const char *behind)
{
    put_text(out, before);
    sc_base64_encode(out, bytes);
    put_text(out, behind);
}

static void write_str(struct sc_buf *out, struct sc_slice text)
{
    if (sc_utf8_valid(text)) {
        sc_jsontext_string(out, text);
    } else {
        write_base64(out, "{\"$str\":\"", text, "\"}");
    }
}

/* ---- Containers ---- */

static bool write_array(struct sc_buf *out, struct sc_mp *mp, unsigned depth)
{
    uint32_t count = 0;
    if (!sc_mp_array(mp, &count)) {
        return false;
    }
    put_text(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        put_text(out, i > 0 ? "," : "");
        if (!write_value(out, mp, depth)) {
            return false;
        }
    }
    put_text(out, "]");
    return true;
}

/* True when an object can say what this map says: every key is a str of UTF-8, and it does not look
 * like one of the escapes. The cursor, a copy, stands at the first key. */
static bool is_plain(struct sc_mp mp, uint32_t pairs)
{
    for (uint32_t i = 0; i < pairs; i++) {
        struct sc_slice key;
        if (sc_mp_peek(&mp) != SC_MP_STR || !sc_mp_str(&mp, &key) || !sc_utf8_valid(key) ||
            (pairs == 1 && sc_json_escape(key) != SC_JSON_NO_ESCAPE)) {
            return false;
        }
        (void)sc_mp_skip(&mp, NULL);
    }
    return true;
}

static bool write_map(struct sc_buf *out, struct sc_mp *mp, unsigned depth)
{
    uint32_t pairs = 0;
    if (!sc_mp_map(mp, &pairs)) {
        return false;
    }
    bool plain = is_plain(*mp, pairs);
    put_text(out, plain ? "{" : "{\"$map\":[");
    for (uint32_t i = 0; i < pairs; i++) {
        put_text(out, i > 0 ? "," : "");
        put_text(out, plain ? "" : "[");
        if (!write_value(out, mp, depth)) {
            return false;
        }
        put_text(out, plain ? ":" : ",");
        if (!write_value(out, mp, depth)) {
            return false;
        }
        put_text(out, plain ? "" : "]");
    }
    put_text(out, plain ? "}" : "]}");
    return true;
}

/* ---- Values ---- */

static bool write_integer(struct sc_buf *out, struct sc_mp *mp, enum sc_mp_type type)
{
    char text[24];
    uint64_t positive = 0;
    int64_t negative = 0;
    if (type == SC_MP_UINT ? !sc_mp_uint(mp, &positive) : !sc_mp_int(mp, &negative)) {
        return false;
    }
    if (type == SC_MP_UINT) {
        (void)snprintf(text, sizeof text, "%" PRIu64, positive);
    } else {
        (void)snprintf(text, sizeof text, "%" PRId64, negative);
    }
    put_text(out, text);
    return true;
}

static bool write_ext(struct sc_buf *out, struct sc_mp *mp)
{
    int8_t type = 0;
    struct sc_slice bytes;
    if (!sc_mp_ext(mp, &type, &bytes)) {
        return false;
    }
    char before[24];
    (void)snprintf(before, sizeof before, "{\"$ext\":[%d,\"", type);
    write_base64(out, before, bytes, "\"]}");
    return true;
}

static bool write_scalar(struct sc_buf *out, struct sc_mp *mp, enum sc_mp_type type)
{
    bool truth = false;
    double number = 0;
    struct sc_slice bytes;
    switch (type) {
    case SC_MP_NIL:
        put_text(out, "null");
        return sc_mp_nil(mp);
    case SC_MP_BOOL:
        if (!sc_mp_bool(mp, &truth)) {
            return false;
        }
        put_text(out, truth ? "true" : "false");
        return true;
    case SC_MP_FLOAT:
        if (!sc_mp_float(mp, &number)) {
            return false;
        }
        write_float(out, number);
        return true;
    case SC_MP_STR:
    case SC_MP_BIN:
        if (!sc_mp_bytes(mp, &bytes)) {
            return false;
        }
        if (type == SC_MP_STR) {
            write_str(out, bytes);
        } else {
            write_base64(out, "{\"$bin\":\"", bytes, "\"}");
        }
        return true;
    default:
        return false;
    }
}

/* `depth` is how many containers are around the value. */
static bool write_value(struct sc_buf *out, struct sc_mp *mp, unsigned depth)
{
    enum sc_mp_type type = sc_mp_peek(mp);
    switch (type) {
    case SC_MP_UINT:
    case SC_MP_INT:
        return write_integer(out, mp, type);
    case SC_MP_EXT:
        return write_ext(out, mp);
    case SC_MP_ARRAY:
        return depth < SC_NESTING_MAX && write_array(out, mp, depth + 1);
    case SC_MP_MAP:
        return depth < SC_NESTING_MAX && write_map(out, mp, depth + 1);
    default:
        return write_scalar(out, mp, type);
    }
}

enum sc_status sc_json_write(struct sc_slice value, struct sc_buf *out, char *why)
{
    size_t start = out->size;
    struct sc_mp mp = sc_mp(value);
    if (!write_value(out, &mp, 0) || !sc_mp_done(&mp)) {
        out->size = start;
        return sc_fail(why, SC_BADREQUEST, "not a well-formed msgpack value");
    }
    return SC_OK;
}

void sc_json_write_key(struct sc_slice key, struct sc_buf *out)
{
    sc_jsontext_key(out, key);
}
