/*
 * Many operations in one call, sent in as few messages as limits allow.
 */
#include "client/error.h"
#include "client/handle.h"
#include "client/operation.h"
#include "client/scatter.h"
#include "common/clock.h"

/* The sentence for a message that failed as a whole is with each of its operations. */
static int set_error(const struct shardcask_op *ops, size_t count, int status)
{
    const char *why = NULL;
    for (size_t i = 0; i < count && why == NULL; i++) {
        why = ops[i].status == status ? ops[i].why : NULL;
    }
    return sc_error_set(status, why);
}

static int run(struct shardcask *handle, struct shardcask_op *ops, size_t count, size_t left,
               bool writes)
{
    if (handle->direct != NULL) {
        return sc_scatter_run(handle, ops, count);
    }
    struct sc_job job = {.ops = ops,
                         .count = count,
                         .left = left,
                         .deadline_ms = sc_clock_mono_ms() + handle->timeout_ms,
                         .ended = sc_job_end};
    sc_peer_run(&handle->coordinator, writes ? SC_LANE_WRITES : SC_LANE_READS, &job);
    return job.status;
}

int shardcask_batch(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    bool writes = false;
    size_t left = sc_operations_begin(ops, count, handle->message_max, &writes);
    int status = left > 0 ? run(handle, ops, count, left, writes) : SC_OK;
    return status == SC_OK ? SC_OK : set_error(ops, count, status);
}

static int batch_of(struct shardcask *handle, struct shardcask_op *ops, size_t count,
                    enum shardcask_op_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        ops[i].kind = kind;
    }
    return shardcask_batch(handle, ops, count);
}

int shardcask_mget(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    return batch_of(handle, ops, count, SHARDCASK_OP_GET);
}

int shardcask_mput(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    return batch_of(handle, ops, count, SHARDCASK_OP_PUT);
}

int shardcask_mdel(struct shardcask *handle, struct shardcask_op *ops, size_t count)
{
    return batch_of(handle, ops, count, SHARDCASK_OP_DEL);
}
