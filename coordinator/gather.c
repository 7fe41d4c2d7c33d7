#include "coordinator/gather.h"

#include "common/msg.h"

#include <assert.h>
#include <stdlib.h>

#define ERROR_ROOM 128u /* bytes kept free for each item that has not been answered */
#define WHOLE_HEAD 16u /* the reply's own head */

struct part {
    size_t offset; /* in `parts_bytes` */
    size_t size; /* 0: not there yet */
};

struct sc_gather {
    struct sc_sp_origin origin;
    uint32_t count;
    uint32_t missing;
    size_t reply_max;
    bool cold;
    struct sc_buf bytes; /* the parts as they came */
    struct part parts[];
};

struct sc_gather *sc_gather_alloc(const struct sc_sp_origin *origin, uint32_t count,
                                  size_t reply_max)
{
    struct sc_gather *gather = sc_calloc(1, sizeof *gather + count * sizeof gather->parts[0]);
    gather->origin = *origin;
    gather->count = count;
    gather->missing = count;
    gather->reply_max = reply_max;
    return gather;
}

const struct sc_sp_origin *sc_gather_origin(const struct sc_gather *gather)
{
    return &gather->origin;
}

void sc_gather_set_cold(struct sc_gather *gather)
{
    gather->cold = true;
}

bool sc_gather_has_cold(const struct sc_gather *gather)
{
    return gather->cold;
}

static void finish(struct sc_gather *gather)
{
    struct sc_buf *out = sc_sp_reply_begin(&gather->origin);
    sc_mp_put_array(out, 2);
    sc_mp_put_uint(out, SC_OK);
    sc_mp_put_array(out, gather->count);
    for (uint32_t i = 0; i < gather->count; i++) {
        const struct part *part = &gather->parts[i];
        sc_buf_append(out, gather->bytes.data + part->offset, part->size);
    }
    sc_sp_reply_end(&gather->origin);
    sc_buf_fini(&gather->bytes);
    free(gather);
}

void sc_gather_put(struct sc_gather *gather, uint32_t index, struct sc_slice reply)
{
    struct part *part = &gather->parts[index];
    assert(index < gather->count && part->size == 0 && reply.size > 0);
    uint64_t reserved = WHOLE_HEAD + (uint64_t)(gather->missing - 1) * ERROR_ROOM;
    part->offset = gather->bytes.size;
    if (reply.size > ERROR_ROOM && gather->bytes.size + reply.size + reserved > gather->reply_max) {
        sc_msg_reply_status(&gather->bytes, SC_TOOLARGE,
                            "the reply has no room left for this item: ask for it alone");
    } else {
        sc_buf_append_slice(&gather->bytes, reply);
    }
    part->size = gather->bytes.size - part->offset;
    sc_sp_charge(&gather->origin, part->size);
    if (--gather->missing == 0) {
        finish(gather);
    }
}

void sc_gather_put_status(struct sc_gather *gather, uint32_t index, enum sc_status status,
                          const char *why)
{
    struct sc_buf reply = {0};
    sc_msg_reply_status(&reply, status, why);
    sc_gather_put(gather, index, sc_buf_slice(&reply));
    sc_buf_fini(&reply);
}
