/*
 * Introduction: the messages by which a shard and the coordinator get to know each other, and the
 * judgement whether a shard is the one that the map means.
 *
 * A shard says who it is (x.hello). One with a fresh directory takes the id that the map has for
 * its address (x.adopt), but only if the map does not know that id to have data already: an empty
 * directory in the place of a full one is somebody's mistake. One that carries the right ids is
 * granted its slots (x.grant). Any other is refused.
 */
#ifndef SC_COORDINATOR_INTRODUCTION_H
#define SC_COORDINATOR_INTRODUCTION_H

#include "common/msg.h"
#include "coordinator/cluster.h"

/* Each appends a request. */
void sc_introduction_put_hello(struct sc_buf *out);
void sc_introduction_put_adopt(const struct sc_cluster *cluster, uint32_t shard_id,
                               struct sc_buf *out);
void sc_introduction_put_grant(const struct sc_cluster *cluster, uint32_t shard_id,
                               struct sc_buf *out);

enum sc_introduction_verdict {
    SC_INTRODUCTION_ADOPT, /* a fresh directory: give it its id */
    SC_INTRODUCTION_KNOWN, /* the right one */
    SC_INTRODUCTION_REFUSE, /* `why` says why */
};

/* What a shard says of itself. */
struct sc_introduction_hello {
    bool adopted;
    uint8_t cluster[16];
    uint64_t shard;
    uint64_t keys;
    uint64_t bytes; /* of their records */
    uint64_t clock_ms; /* what its monotonic clock shows; 0: it did not say */
    uint64_t importing, exporting; /* the move that it takes part in, which is being ... */
    uint64_t disk_free; /* bytes that an import may take */
    uint64_t memory, memory_max; /* bytes of its index; the limit, 0: none */
};

/* Reads the reply to x.hello, of which the status is ok. False when it is none. */
bool sc_introduction_read_hello(struct sc_msg_reply *reply, struct sc_introduction_hello *hello);

/* Judges a shard that is to be `shard_id`. */
enum sc_introduction_verdict sc_introduction_judge(const struct sc_cluster *cluster,
                                                   uint32_t shard_id,
                                                   const struct sc_introduction_hello *hello,
                                                   char *why);

/* Whether the map knows that the shard's directory carries its id. */
bool sc_introduction_is_adopted(const struct sc_cluster *cluster, uint32_t shard_id);

#endif
