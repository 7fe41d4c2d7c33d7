#include "tools/import.h"

#include <sys/stat.h>

#include "common/limits.h"
#include "common/mp.h"

/* jsonl is the last: it claims nothing, and is what is left. */
static const struct sc_import_format *const formats[] = {
    &sc_import_pybitcask, &sc_import_basho, &sc_import_rdb, &sc_import_jsonl, NULL,
};

const char *sc_import_kind_text(enum sc_import_kind kind)
{
    static const char *const texts[] = {
#define SC_IMPORT_KIND_TEXT(name, text) [name] = (text),
        SC_IMPORT_KIND_LIST(SC_IMPORT_KIND_TEXT)
#undef SC_IMPORT_KIND_TEXT
    };
    return texts[kind];
}

const struct sc_import_format *sc_import_format(const char *name)
{
    for (size_t i = 0; formats[i] != NULL; i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            return formats[i];
        }
    }
    return NULL;
}

const struct sc_import_format *sc_import_detect(const char *path)
{
    struct stat info;
    for (size_t i = 0; formats[i] != NULL; i++) {
        if (formats[i]->suits != NULL && formats[i]->suits(path)) {
            return formats[i];
        }
    }
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? NULL : &sc_import_jsonl;
}

const char *sc_import_format_names(void)
{
    return "jsonl, pybitcask, basho, rdb";
}

enum sc_import_result sc_import_check_key(struct sc_import_record *record, char *why)
{
    if (record->key.size == 0) {
        record->kind = SC_IMPORT_EMPTY_KEY;
        sc_fail(why, SC_BADREQUEST, "the key is empty: a key has 1 to %u bytes", SC_KEY_MAX);
        return SC_IMPORT_LEFT_OUT;
    }
    if (record->key.size > SC_KEY_MAX) {
        record->kind = SC_IMPORT_LONG_KEY;
        sc_fail(why, SC_TOOLARGE, "the key has %zu bytes: a key has 1 to %u bytes",
                record->key.size, SC_KEY_MAX);
        return SC_IMPORT_LEFT_OUT;
    }
    return SC_IMPORT_RECORD;
}

/* A message with anything larger would be refused as a whole. */
#define BYTES_MAX (SC_MESSAGE_MAX_DEFAULT - (1u << 20))

enum sc_import_result sc_import_set_bytes(struct sc_import_record *record, struct sc_slice bytes,
                                          struct sc_buf *encoded, char *why)
{
    if (bytes.size > BYTES_MAX) {
        record->kind = SC_IMPORT_LARGE_VALUE;
        sc_fail(why, SC_TOOLARGE, "the value has %zu bytes: no store takes more than %u",
                bytes.size, BYTES_MAX);
        return SC_IMPORT_LEFT_OUT;
    }
    encoded->size = 0;
    sc_mp_put_bin(encoded, bytes);
    record->value = sc_buf_slice(encoded);
    return SC_IMPORT_RECORD;
}
