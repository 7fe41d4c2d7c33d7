/* Values on their way to JSON and back: any msgpack value becomes JSON that can be read, and what
 * is read from it becomes the same JSON. And texts of other programs. */
#include "client/json.h"
#include "common/mp.h"
#include "tests/fuzz/fuzz.h"

static void there_and_back(struct sc_slice value)
{
    struct sc_buf text = {0};
    struct sc_buf again = {0};
    struct sc_buf last = {0};
    must(sc_json_write(value, &text, NULL) == SC_OK);
    must(sc_json_read(sc_buf_slice(&text), &again, NULL) == SC_OK);
    must(sc_json_write(sc_buf_slice(&again), &last, NULL) == SC_OK);
    must(sc_slice_equal(sc_buf_slice(&text), sc_buf_slice(&last)));
    sc_buf_fini(&text);
    sc_buf_fini(&again);
    sc_buf_fini(&last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sc_slice bytes = {data, size};
    struct sc_buf out = {0};
    enum sc_json_fault fault;
    char why[SC_WHY_SIZE];
    if (sc_mp_valid(bytes)) {
        there_and_back(bytes);
    } else {
        must(sc_json_write(bytes, &out, why) == SC_BADREQUEST && out.size == 0);
    }
    if (sc_json_read_python(bytes, &out, &fault, why) == SC_OK) {
        there_and_back(sc_buf_slice(&out));
    } else {
        must(out.size == 0 && why[0] != '\0');
    }
    if (sc_json_read(bytes, &out, why) == SC_OK) {
        must(out.size > 0);
    }
    sc_buf_fini(&out);
    return 0;
}
