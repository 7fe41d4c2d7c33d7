/*
 * A lane: jobs in a queue, joined into messages, a few of which are on their way at a time.
 *
 *   callers --push--> newcomers --take--> queue --join--> message --> link
 *                                           ^                |
 *                                     to be sent again <-----+--reply--> each operation its own
 *
 * While as many messages are on their way as the lane permits what arrives waits, and goes out
 * together when a reply is there: messages grow with the load and nothing waits while the lane is
 * idle. A connection has four lanes so that what takes longer does not hold up the rest:
 *
 *   READS    get, exists, meta and batches of them, called by threads that wait; two messages at a
 *            time
 *   WRITES   everything else of one key and batches with it, likewise
 *   ORDERED  whatever is asynchronous; strictly one message after the other, which is what keeps
 *            operations in the order they were submitted in
 *   CALLS    requests as bytes, each a message of its own, many at a time
 *
 * A message of READS or WRITES that is not answered for a while (a shard does not respond) no
 * longer holds up the lane: others are sent beside it, up to a limit.
 *
 * What is sent again: reads (operations, and requests marked as repeatable) when the connection
 * broke under a message in which nothing writes; a read to which a joined message's reply had no
 * room left (SC_TOOLARGE), alone. Never a write.
 *
 * Everything here is guarded by the hub's lock, but sc_lane_push.
 */
#ifndef SC_CLIENT_LANE_H
#define SC_CLIENT_LANE_H

#include "client/intake.h"
#include "common/sp.h"

enum sc_lane_kind { SC_LANE_READS, SC_LANE_WRITES, SC_LANE_ORDERED, SC_LANE_CALLS, SC_LANE_COUNT };

/* One operation of a job: in a message, or to be sent again. */
struct sc_item {
    struct sc_job *job; /* NULL: ended before its message was */
    size_t index; /* into job->ops */
    bool alone; /* to be sent again in a message of its own */
};

/* The clock of a server that takes deadlines (x.by, common/msg.h), which are in its own time. */
struct sc_lane_clock {
    bool known;
    uint64_t ahead_ms; /* of ours, or a little more; modulo 2^64 */
};

struct sc_lane_options {
    size_t join_max; /* operations in a message */
    size_t join_bytes; /* bytes in a message of more than one operation */
    const struct sc_lane_clock *clock; /* kept; lock held */
};

struct sc_lane {
    enum sc_lane_kind kind; /* constant */
    struct sc_lane_options options; /* constant */
    struct sc_intake intake; /* what was not sent yet */

    /* Lock held. */
    struct sc_item *again; /* to be sent again, before the queue */
    size_t again_count;
    size_t again_capacity;
    struct sc_message *sent; /* messages on their way */
    struct sc_message *spare; /* for the next ones */
    size_t sent_count;
    size_t stalled; /* those of them that no longer hold up the lane */
};

void sc_lane_init(struct sc_lane *lane, enum sc_lane_kind kind,
                  const struct sc_lane_options *options);
void sc_lane_fini(struct sc_lane *lane);

/* Hands a job over; any thread, without the lock. True when the caller must see to it that
 * sc_lane_pump is called. */
bool sc_lane_push(struct sc_lane *lane, struct sc_job *job);

/* Sends what can be sent now. `link` may be down. */
void sc_lane_pump(struct sc_lane *lane, struct sc_sp_link *link);

/* When a message was sent; `tag` is what it was sent with. */
uint64_t sc_lane_sent_ms(const void *tag);

/* The end of a message; `tag` is what it was sent with. False when the reply made no sense: the
 * operations have ended as SC_INTERNAL, and the connection should not be used any more. */
bool sc_lane_reply(void *tag, enum sc_status status, struct sc_slice body);

/* Ends what has run out of time: as SC_UNAVAILABLE, with `why_down` in the sentence, what was not
 * sent, as SC_UNKNOWN what was. */
void sc_lane_tick(struct sc_lane *lane, uint64_t now_ms, const char *why_down);

/* Ends all that was not sent as SC_UNAVAILABLE. */
void sc_lane_abandon(struct sc_lane *lane, const char *why);

#endif
