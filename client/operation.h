/*
 * One operation on one key (struct shardcask_op): checked, put on the wire, and its reply taken
 * apart.
 */
#ifndef SC_CLIENT_OPERATION_H
#define SC_CLIENT_OPERATION_H

#include "client/shardcask.h"
#include "common/buf.h"
#include "common/msg.h"

/* op->status of an operation that has not ended. */
#define SC_OPERATION_PENDING (-1)

/* True when it may change data. */
bool sc_operation_writes(const struct shardcask_op *op);

/* Judges what the caller has set, so that nothing can go out that would spoil a message it shares
 * with others: SC_BADREQUEST or SC_TOOLARGE with a sentence. */
enum sc_status sc_operation_check(const struct shardcask_op *op, size_t message_max, char *why);

/* No fewer bytes than sc_operation_encode writes. */
size_t sc_operation_size(const struct shardcask_op *op);

/* Appends the request. The operation has been checked. */
void sc_operation_encode(const struct shardcask_op *op, struct sc_buf *out);

/* Frees an earlier sentence and marks the operation as not ended. */
void sc_operation_begin(struct shardcask_op *op);

/* Checks and begins many; bad ones end here and are not sent. Returns how many are to be sent, and
 * sets *writes (may be NULL) if one of these writes. */
size_t sc_operations_begin(struct shardcask_op *ops, size_t count, size_t message_max,
                           bool *writes);

/* Ends the operation without a reply, or with an error from one: sets status and sentence (may be
 * empty). */
void sc_operation_fail(struct shardcask_op *op, int status, struct sc_slice why);

/* Ends the operation with a reply. False, with the operation not ended, when the reply has status 0
 * but not the result that such an operation has. */
bool sc_operation_end(struct shardcask_op *op, const struct sc_msg_reply *reply);

#endif
