/*
 * Ops: carries out single-key requests on the store and writes their replies.
 */
#ifndef SC_SHARD_OPS_H
#define SC_SHARD_OPS_H

#include "common/msg.h"
#include "shard/bitcask.h"

/* Carries out one parsed single-key request (SC_OP_SINGLE) of which the slot is served here, and
 * appends its reply; stores the position that must be committed before the reply may leave. `hash`:
 * sc_slot_hash of the key. False: a record has to be fetched first, nothing has changed or was
 * appended, and `fetch` has wants. NULL: waits for the disk instead. */
bool sc_ops_execute(struct sc_bitcask *store, const struct sc_msg_request *request, uint64_t hash,
                    struct sc_fetch *fetch, struct sc_buf *reply, sc_bitcask_position *position);

#endif
