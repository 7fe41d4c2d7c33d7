/* For the targets of import: a whole reader, from its opening to the end of what it reads. */
#ifndef SC_TESTS_FUZZ_IMPORT_H
#define SC_TESTS_FUZZ_IMPORT_H

#include "common/limits.h"
#include "common/mp.h"
#include "tests/fuzz/fuzz.h"
#include "tools/import.h"

/* Called for each record that may be put; NULL: not needed. */
typedef void fuzz_visit_fn(const struct sc_import_record *record);

static inline void fuzz_read(const struct sc_import_format *format, const char *path,
                             const struct sc_import_options *options, fuzz_visit_fn *visit)
{
    char why[SC_WHY_SIZE] = "";
    struct sc_import_reader *reader = format->open(path, options, why);
    enum sc_import_result result = SC_IMPORT_BUSY;
    must(reader != NULL || why[0] != '\0');
    while (reader != NULL && result != SC_IMPORT_END && result != SC_IMPORT_FAILED) {
        struct sc_import_record record = {0};
        uint64_t at = 0;
        uint64_t size = 0;
        why[0] = '\0';
        result = format->next(reader, &record, why);
        format->position(reader, &at, &size);
        must(at <= size);
        if (result == SC_IMPORT_RECORD) {
            must(record.key.size >= 1 && record.key.size <= SC_KEY_MAX);
            must(sc_mp_valid(record.value));
            must(record.ttl_ms <= SC_TTL_MS_MAX && (record.ttl_ms == 0 || record.expires_ms == 0));
            if (visit != NULL) {
                visit(&record);
            }
        } else if (result == SC_IMPORT_LEFT_OUT || result == SC_IMPORT_NOTE) {
            must(record.kind < SC_IMPORT_KINDS && why[0] != '\0');
        } else if (result == SC_IMPORT_FAILED) {
            must(why[0] != '\0');
        }
    }
    if (reader != NULL) {
        format->close(reader);
    }
}

#endif
