#include "shard/outbox.h"

#include "common/msg.h"

#include <stdlib.h>

struct sc_outbox_reply {
    struct sc_outbox_reply *next;
    struct sc_sp_origin origin;
    sc_bitcask_position position;
    uint64_t sync;
    size_t size;
    uint8_t body[];
};

void sc_outbox_init(struct sc_outbox *outbox, struct sc_bitcask *store)
{
    *outbox = (struct sc_outbox){.store = store};
    outbox->waiting_end = &outbox->waiting;
}

static bool is_due(const struct sc_outbox *outbox, const struct sc_outbox_reply *reply)
{
    return reply->position <= sc_bitcask_committed(outbox->store) &&
           reply->sync <= sc_committer_synced(outbox->committer);
}

static void reply_failed(const struct sc_outbox *outbox, const struct sc_sp_origin *origin)
{
    const char *failure = sc_bitcask_failed(outbox->store);
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, SC_IO, failure != NULL ? failure : "the store has failed");
    sc_sp_reply_end(origin);
}

void sc_outbox_committed(struct sc_outbox *outbox)
{
    struct sc_outbox_reply **link = &outbox->waiting;
    bool failed = sc_bitcask_failed(outbox->store) != NULL;
    while (*link != NULL) {
        struct sc_outbox_reply *reply = *link;
        if (failed && (reply->sync > 0 || !is_due(outbox, reply))) {
            reply_failed(outbox, &reply->origin);
        } else if (is_due(outbox, reply)) {
            sc_sp_reply(&reply->origin, sc_slice(reply->body, reply->size));
        } else {
            link = &reply->next;
            continue;
        }
        *link = reply->next;
        free(reply);
    }
    outbox->waiting_end = link;
}

void sc_outbox_send(struct sc_outbox *outbox, const struct sc_sp_origin *origin,
                    struct sc_slice body, size_t charged, sc_bitcask_position position,
                    uint64_t sync)
{
    if (position <= sc_bitcask_committed(outbox->store) && sync == 0) {
        sc_sp_reply(origin, body);
    } else if (sc_bitcask_failed(outbox->store) != NULL) {
        reply_failed(outbox, origin);
    } else {
        struct sc_outbox_reply *reply = sc_alloc(sizeof *reply + body.size);
        reply->next = NULL;
        reply->origin = *origin;
        reply->position = position;
        reply->sync = sync;
        reply->size = body.size;
        memcpy(reply->body, body.data, body.size);
        sc_sp_charge(&reply->origin, body.size > charged ? body.size - charged : 0);
        *outbox->waiting_end = reply;
        outbox->waiting_end = &reply->next;
    }
}
