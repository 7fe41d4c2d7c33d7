/* JSON lines. What can be read is written by an export so that reading it gives the same bytes. */
#include "client/json.h"
#include "tests/fuzz/fuzz_import.h"

static void write_and_read(const struct sc_import_record *record)
{
    struct sc_buf text = {0};
    struct sc_buf again = {0};
    must(sc_json_write(record->value, &text, NULL) == SC_OK);
    must(sc_json_read(sc_buf_slice(&text), &again, NULL) == SC_OK);
    must(sc_slice_equal(sc_buf_slice(&again), record->value));
    text.size = 0;
    again.size = 0;
    sc_json_write_key(record->key, &text);
    must(sc_json_read(sc_buf_slice(&text), &again, NULL) == SC_OK);
    struct sc_mp mp = sc_mp(sc_buf_slice(&again));
    struct sc_slice key;
    must(sc_mp_bytes(&mp, &key) && sc_slice_equal(key, record->key));
    sc_buf_fini(&text);
    sc_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_write("lines.jsonl", data, size);
    fuzz_read(&sc_import_jsonl, fuzz_path("lines.jsonl"), &(struct sc_import_options){.db = -1},
              write_and_read);
    return 0;
}
