/*
 * Ops: carries out single-key requests on the store and writes their replies.
 */
#ifndef SC_SHARD_OPS_H
#define SC_SHARD_OPS_H

#include "common/msg.h"
#include "shard/bitcask.h"

/* Carries out one parsed single-key request (SC_OP_SINGLE) of which the slot is served here, and
 * appends its reply. `shard_id` is for meta. Returns the position that must be committed before the
 * reply may leave. */
sc_bitcask_position sc_ops_execute(struct sc_bitcask *store, const struct sc_msg_request *request,
                                   uint32_t shard_id, struct sc_buf *reply);

#endif
