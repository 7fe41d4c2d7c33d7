#include "tools/import.h"

static const struct sc_import_format *const formats[] = {&sc_import_jsonl, NULL};

const struct sc_import_format *sc_import_format(const char *name)
{
    for (size_t i = 0; formats[i] != NULL; i++) {
        if (strcmp(formats[i]->name, name) == 0) {
            return formats[i];
        }
    }
    return NULL;
}

const char *sc_import_format_names(void)
{
    return "jsonl";
}
