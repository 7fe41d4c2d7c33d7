/* Messages and msgpack values from anywhere. */
#include "tests/fuzz/fuzz.h"

#include "tests/common/msg_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sc_msg_limits limits = {.value_max = 64};
    struct sc_slice body = {data, size};
    struct sc_msg_request request;
    (void)check_message(body, &limits, &request);
    /* A value that may be stored is one that can be stepped over, and as long. */
    struct sc_mp skipped = sc_mp(body);
    struct sc_mp stored = sc_mp(body);
    if (sc_mp_value(&stored, NULL)) {
        must(sc_mp_skip(&skipped, NULL) && skipped.at == stored.at);
    }
    return 0;
}
