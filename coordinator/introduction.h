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

/* Judges the reply to x.hello, of which the status is ok. `clock_ms`: what the shard's monotonic
 * clock showed; 0: it did not say. */
enum sc_introduction_verdict sc_introduction_judge(const struct sc_cluster *cluster,
                                                   uint32_t shard_id, struct sc_msg_reply *reply,
                                                   uint64_t *clock_ms, char *why);

/* Whether the map knows that the shard's directory carries its id. */
bool sc_introduction_is_adopted(const struct sc_cluster *cluster, uint32_t shard_id);

#endif
