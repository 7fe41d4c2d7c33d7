#include "common/jsontext.h"

#include "common/base64.h"
#include "common/utf8.h"

#include <stdio.h>

static void put_text(struct sc_buf *out, const char *text)
{
    sc_buf_append(out, text, strlen(text));
}

/* Bytes of the character at `at` that must not stand in a line of output as it is: control
 * characters, those of ISO 6429 (U+0080 to U+009F) too, since terminals obey them. */
static size_t control_size(const uint8_t *at, size_t left)
{
    if (*at < 0x20 || *at == 0x7f) {
        return 1;
    }
    return *at == 0xc2 && left > 1 && at[1] < 0xa0 ? 2 : 0;
}

static void write_control(struct sc_buf *out, const uint8_t *at, size_t size)
{
    static const char short_forms[] = "\bb\ff\nn\rr\tt";
    uint8_t code = at[size - 1]; /* of two bytes the second is the code point itself */
    for (const char *form = short_forms; *form != '\0'; form += 2) {
        if (code == (uint8_t)*form) {
            sc_buf_append(out, (char[]){'\\', form[1]}, 2);
            return;
        }
    }
    char text[8];
    (void)snprintf(text, sizeof text, "\\u%04x", code);
    put_text(out, text);
}

void sc_jsontext_string(struct sc_buf *out, struct sc_slice text)
{
    const uint8_t *at = text.data;
    size_t left = text.size;
    put_text(out, "\"");
    while (left > 0) {
        size_t run = 0;
        size_t control = 0;
        while (run < left && at[run] != '"' && at[run] != '\\' &&
               (control = control_size(at + run, left - run)) == 0) {
            run++;
        }
        sc_buf_append(out, at, run);
        at += run;
        left -= run;
        if (control > 0) {
            write_control(out, at, control);
            at += control;
            left -= control;
        } else if (left > 0) {
            sc_buf_append(out, (char[]){'\\', (char)*at}, 2);
            at++;
            left--;
        }
    }
    put_text(out, "\"");
}

void sc_jsontext_key(struct sc_buf *out, struct sc_slice key)
{
    if (sc_utf8_valid(key)) {
        sc_jsontext_string(out, key);
    } else {
        put_text(out, "{\"$bin\":\"");
        sc_base64_encode(out, key);
        put_text(out, "\"}");
    }
}
