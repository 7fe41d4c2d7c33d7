#include "tools/cli_text.h"

#include <string.h>

#include "client/json.h"
#include "common/limits.h"
#include "common/mp.h"
#include "common/status.h"

static bool begins_with(struct sc_slice text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

/* Whether a text is meant as one of the wrappers, well-formed or not. */
static bool looks_wrapped(struct sc_slice text)
{
    static const char *const names[] = {"\"$bin\"", "\"$str\"", "\"$ext\"", "\"$float\"",
                                        "\"$map\""};
    const char *at = text.data;
    size_t skip = 1;
    if (text.size == 0 || *at != '{') {
        return false;
    }
    while (skip < text.size && (at[skip] == ' ' || at[skip] == '\t')) {
        skip++;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (begins_with(sc_slice(at + skip, text.size - skip), names[i])) {
            return true;
        }
    }
    return false;
}

/* Takes the key from {"$bin": ...}; false when that is not what the word is. */
static bool unwrap_key(struct sc_slice word, struct sc_buf *key)
{
    struct sc_buf value = {0};
    struct sc_slice bytes = {NULL, 0};
    bool good = false;
    if (sc_json_read(word, &value, NULL) == SC_OK) {
        struct sc_mp mp = sc_mp(sc_buf_slice(&value));
        good = sc_mp_bytes(&mp, &bytes);
        if (good) {
            sc_buf_append_slice(key, bytes);
        }
    }
    sc_buf_fini(&value);
    return good;
}

bool sc_cli_text_key(const char *word, struct sc_buf *key, char *why)
{
    struct sc_slice text = sc_slice_str(word);
    sc_buf_reset(key, SC_KEY_MAX);
    if (!looks_wrapped(text)) {
        sc_buf_append_slice(key, text);
    } else if (!unwrap_key(text, key)) {
        sc_fail(why, SC_BADREQUEST,
                "the key %.60s is not {\"$bin\": \"...\"} with base64 inside; a key that really "
                "begins like that must itself be written in that form",
                word);
        return false;
    }
    if (key->size == 0) {
        sc_fail(why, SC_BADREQUEST, "a key has at least one byte");
        return false;
    }
    if (key->size > SC_KEY_MAX) {
        sc_fail(why, SC_TOOLARGE, "the key has %zu bytes, more than %u", key->size, SC_KEY_MAX);
        return false;
    }
    return true;
}

bool sc_cli_text_value(struct sc_slice text, bool raw, struct sc_buf *value, char *why)
{
    sc_buf_reset(value, SIZE_MAX);
    if (text.size > UINT32_MAX) {
        sc_fail(why, SC_TOOLARGE, "the value has more than 4 GiB");
        return false;
    }
    if (raw) {
        sc_mp_put_bin(value, text);
    } else if (sc_json_read(text, value, why) != SC_OK) {
        if (looks_wrapped(text)) {
            return false;
        }
        sc_mp_put_str(value, text);
    }
    return true;
}
