#include "shard/handover_impl.h"

#include "common/clock.h"
#include "common/log.h"
#include "shard/grant.h"

#include <assert.h>
#include <inttypes.h>
#include <sys/random.h>

static uint64_t new_token(void)
{
    uint64_t token = 0;
    while (token == 0) {
        if (getrandom(&token, sizeof token, 0) != (ssize_t)sizeof token) {
            token = sc_clock_mono_ns(); /* others differ from it well enough */
        }
    }
    return token;
}

static enum sc_status unknown_move(const struct sc_handover_job *job, char *why)
{
    return sc_fail(why, SC_NOTFOUND, "%s: nothing is under way here by move %" PRIu64,
                   sc_op_name(job->op), job->move.move);
}

/* Whether a job belongs to the import that is under way. */
static enum sc_status check_import(struct sc_handover *handover, const struct sc_handover_job *job,
                                   char *why)
{
    sc_sp_hub_lock(handover->hub);
    bool known = job->move.token != 0 && job->move.token == handover->import_token;
    sc_sp_hub_unlock(handover->hub);
    return known && sc_importer_has(handover->importer, job->move.move) ? SC_OK
                                                                        : unknown_move(job, why);
}

static enum sc_status check_export(struct sc_handover *handover, const struct sc_handover_job *job,
                                   char *why)
{
    sc_sp_hub_lock(handover->hub);
    bool known = job->move.token != 0 && job->move.token == handover->export_token;
    sc_sp_hub_unlock(handover->hub);
    return known && sc_exporter_has(handover->exporter, job->move.move) ? SC_OK
                                                                        : unknown_move(job, why);
}

static enum sc_status do_import(struct sc_handover *handover, const struct sc_handover_job *job,
                                struct sc_buf *reply, char *why)
{
    struct sc_buf cursor = {0};
    struct sc_buf mark = {0};
    enum sc_status status = sc_importer_begin(handover->importer, job->move.move, job->slots,
                                              job->move.bytes, job->move.keys, &cursor, &mark, why);
    if (status == SC_OK) {
        struct sc_msg_import_reply result = {new_token(), sc_buf_slice(&cursor),
                                             sc_buf_slice(&mark)};
        sc_sp_hub_lock(handover->hub);
        handover->import_token = result.token;
        sc_sp_hub_unlock(handover->hub);
        sc_msg_reply_import(reply, &result);
    }
    sc_buf_fini(&cursor);
    sc_buf_fini(&mark);
    return status;
}

static enum sc_status do_write(struct sc_handover *handover, const struct sc_handover_job *job,
                               char *why)
{
    enum sc_status status = check_import(handover, job, why);
    return status == SC_OK ? sc_importer_write(handover->importer, job->move.cursor, job->move.mark,
                                               job->move.frame, why)
                           : status;
}

static enum sc_status do_finish(struct sc_handover *handover, const struct sc_handover_job *job,
                                char *why)
{
    enum sc_status status = check_import(handover, job, why);
    return status == SC_OK ? sc_importer_finish(handover->importer, job->move.count,
                                                job->move.digest, job->move.version, why)
                           : status;
}

/* Slots that are served already do not stay away any more. */
static enum sc_status do_drop(struct sc_handover *handover, const struct sc_handover_job *job,
                              char *why)
{
    uint8_t arriving[SC_SLOT_COUNT / 8];
    bool served = false;
    sc_bitcask_arriving(handover->store, arriving);
    sc_sp_hub_lock(handover->hub);
    for (size_t i = 0; i < sizeof arriving; i++) {
        served = served || (arriving[i] & handover->membership->owned[i]) != 0;
    }
    sc_sp_hub_unlock(handover->hub);
    return served ? sc_fail(why, SC_BUSY, "the slots of this move are granted to this shard")
                  : sc_importer_drop(handover->importer, job->move.move, why);
}

/* Where nothing is sealed, no lease is needed. */
static void follow_seal_locked(struct sc_handover *handover)
{
    if (!sc_bitcask_is_sealed(handover->store)) {
        sc_membership_unseal(handover->membership);
    }
}

static enum sc_status do_export(struct sc_handover *handover, const struct sc_handover_job *job,
                                struct sc_buf *reply, char *why)
{
    struct sc_buf mark = {0};
    struct sc_msg_export_reply result = {.token = new_token()};
    enum sc_status status =
        sc_exporter_begin(handover->exporter, job->move.move, job->slots, job->move.mark, &mark,
                          &result.keys, &result.bytes, why);
    sc_sp_hub_lock(handover->hub);
    handover->export_token = status == SC_OK ? result.token : 0;
    follow_seal_locked(handover);
    sc_sp_hub_unlock(handover->hub);
    if (status == SC_OK) {
        result.mark = sc_buf_slice(&mark);
        sc_msg_reply_export(reply, &result);
    }
    sc_buf_fini(&mark);
    return status;
}

enum sc_status sc_handover_read(struct sc_handover *handover, const struct sc_handover_job *job,
                                struct sc_exporter_page *page, char *why)
{
    enum sc_status status = check_export(handover, job, why);
    return status == SC_OK ? sc_exporter_read(handover->exporter, job->move.cursor, page, why)
                           : status;
}

static enum sc_status do_seal(struct sc_handover *handover, const struct sc_handover_job *job,
                              struct sc_buf *reply, char *why)
{
    struct sc_exporter_seal seal;
    enum sc_status status = check_export(handover, job, why);
    if (status == SC_OK) {
        status = sc_exporter_seal(handover->exporter, &seal, why);
    }
    if (status == SC_OK) {
        const struct sc_msg_seal_reply result = {seal.count, seal.digest, seal.version};
        uint8_t leaving[SC_SLOT_COUNT / 8];
        sc_bitcask_leaving(handover->store, leaving);
        sc_sp_hub_lock(handover->hub);
        sc_membership_seal(handover->membership, leaving, job->move.until_ms);
        sc_sp_hub_unlock(handover->hub);
        sc_msg_reply_seal(reply, &result);
    }
    return status;
}

static enum sc_status do_release(struct sc_handover *handover, const struct sc_handover_job *job,
                                 char *why)
{
    enum sc_status status = sc_exporter_end(handover->exporter, job->move.move, why);
    sc_sp_hub_lock(handover->hub);
    follow_seal_locked(handover);
    sc_sp_hub_unlock(handover->hub);
    return status;
}

/* Brings a grant to the disk, and into effect if it is not yet. */
static enum sc_status do_grant(struct sc_handover *handover, struct sc_handover_job *job, char *why)
{
    const struct sc_membership_grant *grant = &job->grant;
    enum sc_status status = sc_grant_run(handover->store, &handover->host, grant->term,
                                         grant->epoch, grant->owned, why);
    if (status == SC_IO && sc_membership_is_known(handover->membership, grant)) {
        /* A disk that is full, say, need not keep the shard from serving what it has. */
        sc_log_warn("serving the slots of before, though: %s", why);
        status = SC_OK;
    }
    sc_sp_hub_lock(handover->hub);
    if (status == SC_OK) {
        sc_membership_open(handover->membership, grant);
    }
    follow_seal_locked(handover);
    sc_sp_hub_unlock(handover->hub);
    return status;
}

enum sc_status sc_handover_execute(struct sc_handover *handover, struct sc_handover_job *job,
                                   struct sc_buf *reply, char *why)
{
    switch (job->op) {
    case SC_OP_X_IMPORT:
        return do_import(handover, job, reply, why);
    case SC_OP_X_WRITE:
        return do_write(handover, job, why);
    case SC_OP_X_FINISH:
        return do_finish(handover, job, why);
    case SC_OP_X_DROP:
        return do_drop(handover, job, why);
    case SC_OP_X_EXPORT:
        return do_export(handover, job, reply, why);
    case SC_OP_X_SEAL:
        return do_seal(handover, job, reply, why);
    case SC_OP_X_RELEASE:
        return do_release(handover, job, why);
    default:
        assert(job->op == SC_OP_X_GRANT);
        return do_grant(handover, job, why);
    }
}
