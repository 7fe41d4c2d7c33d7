#include "shard/handover.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "shard/handover_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JOBS_MAX 32u /* that wait */
#define RETRY_MS UINT64_C(1000) /* between attempts to bring a grant to the disk */
#define WAIT_NS 1000000L
#define LATE_NS 300000000L /* for tests: how late a late reply is */

/* ---- What moves need of their surroundings ---- */

static void host_lock(void *arg)
{
    struct sc_handover *handover = arg;
    sc_sp_hub_lock(handover->hub);
}

static void host_unlock(void *arg)
{
    struct sc_handover *handover = arg;
    sc_sp_hub_unlock(handover->hub);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

static bool host_sync(void *arg)
{
    struct sc_handover *handover = arg;
    sc_sp_hub_lock(handover->hub);
    uint64_t number = sc_committer_want_sync(handover->committer);
    for (;;) {
        bool failed = sc_bitcask_failed(handover->store) != NULL;
        bool done = sc_committer_synced(handover->committer) >= number;
        handover->waits = !done && !failed && !atomic_load(&handover->stopping);
        bool waits = handover->waits;
        sc_sp_hub_unlock(handover->hub);
        if (!waits) {
            return done && !failed;
        }
        wait_for(&handover->committed);
        sc_sp_hub_lock(handover->hub);
    }
}

static void pause_for(long ns)
{
    const struct timespec pause = {.tv_nsec = ns};
    (void)nanosleep(&pause, NULL);
}

static bool host_wait(void *arg)
{
    struct sc_handover *handover = arg;
    pause_for(WAIT_NS);
    return !atomic_load(&handover->stopping);
}

void sc_handover_committed(struct sc_handover *handover)
{
    if (handover->waits) {
        handover->waits = false;
        (void)sem_post(&handover->committed);
    }
}

/* ---- Jobs ---- */

static void job_free(struct sc_handover_job *job)
{
    if (job != NULL) {
        free(job->bytes);
        sc_membership_grant_fini(&job->grant);
        free(job);
    }
}

/* Copies what a request points to. */
static void keep_slices(struct sc_handover_job *job)
{
    enum { SLICES = 3 };
    struct sc_slice *slices[SLICES] = {&job->move.cursor, &job->move.mark, &job->move.frame};
    size_t size = 0;
    for (size_t i = 0; i < SLICES; i++) {
        size += slices[i]->size;
    }
    job->bytes = sc_alloc(size + 1);
    uint8_t *to = job->bytes;
    for (size_t i = 0; i < SLICES; i++) {
        if (slices[i]->size > 0) {
            memcpy(to, slices[i]->data, slices[i]->size);
        }
        slices[i]->data = to;
        to += slices[i]->size;
    }
    sc_sp_charge(&job->origin, size);
}

static void keep_ranges(struct sc_handover_job *job)
{
    for (uint32_t i = 0; i < job->move.range_count; i++) {
        struct sc_msg_range range = sc_msg_next_range(&job->move);
        for (uint32_t slot = range.first; slot <= range.last; slot++) {
            job->slots[slot / 8] = (uint8_t)(job->slots[slot / 8] | 1u << (slot % 8));
        }
    }
}

static void append_job(struct sc_handover *handover, struct sc_handover_job *job)
{
    job->next = NULL;
    if (handover->first == NULL) {
        handover->first = job;
    } else {
        handover->last->next = job;
    }
    handover->last = job;
    handover->jobs++;
    (void)sem_post(&handover->wake);
}

static struct sc_handover_job *take_job(struct sc_handover *handover)
{
    struct sc_handover_job *job = handover->first;
    if (job != NULL) {
        handover->first = job->next;
        handover->jobs--;
    }
    return job;
}

static void answer(const struct sc_sp_origin *origin, enum sc_status status, const char *why)
{
    struct sc_buf *out = sc_sp_reply_begin(origin);
    sc_msg_reply_status(out, status, status == SC_OK ? NULL : why);
    sc_sp_reply_end(origin);
}

/* For tests: harm done before a request is carried out, or to its reply. True: there is no reply.
 * Lock not held. */
static bool harm(enum sc_op op, const char *when)
{
    char name[32];
    (void)snprintf(name, sizeof name, "%s%s", sc_op_name(op), when);
    enum sc_failpoint_action action = sc_failpoint_action(name);
    if (action == SC_FAILPOINT_LATE) {
        pause_for(LATE_NS);
    }
    return action == SC_FAILPOINT_DROP;
}

/* ---- The thread ---- */

static void log_end(const struct sc_handover_job *job, enum sc_status status, const char *why)
{
    if (job->op == SC_OP_X_GRANT && status == SC_OK) {
        sc_log_info("granted slots at epoch=%" PRIu64 " term=%" PRIu64, job->grant.epoch,
                    job->grant.term);
    } else if (job->op == SC_OP_X_GRANT) {
        sc_log_error("grant of epoch=%" PRIu64 " failed: %s", job->grant.epoch, why);
    } else if (status != SC_OK && status != SC_BUSY && status != SC_NOTFOUND) {
        sc_log_error("%s of move=%" PRIu64 " failed: %s", sc_op_name(job->op), job->move.move, why);
    } else if (status == SC_OK && job->op != SC_OP_X_WRITE) {
        sc_log_info("%s of move=%" PRIu64, sc_op_name(job->op), job->move.move);
    }
}

/* A frame may be large: it is written where it leaves from. */
static void work_on_read(struct sc_handover *handover, const struct sc_handover_job *job)
{
    struct sc_exporter_page page = {0};
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = sc_handover_read(handover, job, &page, why);
    bool drop = harm(job->op, ".reply");
    if (status != SC_OK) {
        log_end(job, status, why);
    }
    sc_sp_hub_lock(handover->hub);
    if (drop) {
        sc_sp_drop(&job->origin);
    } else if (status != SC_OK) {
        answer(&job->origin, status, why);
    } else {
        const struct sc_msg_read_reply result = {sc_buf_slice(&page.cursor), page.gap,
                                                 sc_buf_slice(&page.frame)};
        sc_msg_reply_read(sc_sp_reply_begin(&job->origin), &result);
        sc_sp_reply_end(&job->origin);
    }
    sc_sp_hub_unlock(handover->hub);
    sc_exporter_page_fini(&page);
}

/* Keeps a grant that is answered, but not on disk, for another attempt. False: it is not one. */
static bool keep_unsaved_locked(struct sc_handover *handover, struct sc_handover_job *job,
                                enum sc_status status)
{
    bool again = job->op == SC_OP_X_GRANT && job->answered && status != SC_OK &&
                 status != SC_DENIED && sc_membership_is_latest(handover->membership, &job->grant);
    if (again) {
        job_free(handover->unsaved);
        handover->unsaved = job;
        handover->retry_ms = sc_clock_mono_ms() + RETRY_MS;
    }
    return again;
}

static void work_on(struct sc_handover *handover, struct sc_handover_job *job)
{
    struct sc_buf reply = {0};
    char why[SC_WHY_SIZE] = "";
    enum sc_status status = sc_handover_execute(handover, job, &reply, why);
    bool drop = harm(job->op, ".reply");
    log_end(job, status, why);
    sc_sp_hub_lock(handover->hub);
    if (!job->answered && drop) {
        sc_sp_drop(&job->origin);
    } else if (!job->answered && reply.size > 0) {
        sc_sp_reply(&job->origin, sc_buf_slice(&reply));
    } else if (!job->answered) {
        answer(&job->origin, status, why);
    }
    bool kept = keep_unsaved_locked(handover, job, status);
    sc_sp_hub_unlock(handover->hub);
    sc_buf_fini(&reply);
    if (!kept) {
        job_free(job);
    }
}

static bool is_late(const struct sc_handover_job *job)
{
    return !job->answered && job->deadline_ms != UINT64_MAX &&
           sc_clock_mono_ms() > job->deadline_ms;
}

static void *run(void *arg)
{
    struct sc_handover *handover = arg;
    for (;;) {
        wait_for(&handover->wake);
        if (atomic_load(&handover->stopping)) {
            return NULL;
        }
        sc_sp_hub_lock(handover->hub);
        struct sc_handover_job *job = take_job(handover);
        bool late = job != NULL && is_late(job);
        if (late) {
            answer(&job->origin, SC_UNAVAILABLE, "the request waited too long");
        }
        sc_sp_hub_unlock(handover->hub);
        if (late || job == NULL) {
            job_free(job);
            continue;
        }
        (void)harm(job->op, "");
        if (job->op == SC_OP_X_READ) {
            work_on_read(handover, job);
            job_free(job);
        } else {
            work_on(handover, job);
        }
    }
}

/* ---- With the lock ---- */

bool sc_handover_takes(enum sc_op op)
{
    switch (op) {
    case SC_OP_X_IMPORT:
    case SC_OP_X_WRITE:
    case SC_OP_X_FINISH:
    case SC_OP_X_DROP:
    case SC_OP_X_EXPORT:
    case SC_OP_X_READ:
    case SC_OP_X_SEAL:
    case SC_OP_X_RELEASE:
    case SC_OP_X_GRANT:
        return true;
    default:
        return false;
    }
}

/* Moves come from now on from where this grant came from; but one of the same term that was delayed
 * on an older connection does not bring that back. Not announced yet. */
static void introduce(struct sc_handover *handover, const struct sc_handover_job *job)
{
    uint64_t number = sc_sp_number(&job->origin);
    bool new_term = job->grant.term > handover->membership->latest.term;
    if (new_term || number > handover->coordinator) {
        handover->coordinator = number;
    }
}

static bool is_introduced(const struct sc_handover *handover, const struct sc_sp_origin *origin)
{
    return sc_sp_number(origin) == handover->coordinator;
}

/* What a grant means at once. */
static enum sc_status announce(struct sc_handover *handover, const struct sc_msg_request *request,
                               struct sc_handover_job *job, char *why)
{
    enum sc_status status =
        sc_membership_read_grant(handover->membership, request, &job->grant, why);
    if (status != SC_OK) {
        return status;
    }
    introduce(handover, job);
    uint8_t arriving[SC_SLOT_COUNT / 8];
    bool new_term = sc_membership_announce(handover->membership, &job->grant);
    bool arrived = false;
    sc_bitcask_arriving(handover->store, arriving);
    for (size_t i = 0; i < sizeof arriving; i++) {
        arrived = arrived || (arriving[i] & job->grant.owned[i]) != 0;
    }
    if (new_term || arrived) {
        handover->import_token = 0;
    }
    if (new_term) {
        handover->export_token = 0;
    } else {
        sc_membership_open(handover->membership, &job->grant);
        job->answered = true;
    }
    /* What was to be tried again is out of date. */
    job_free(handover->unsaved);
    handover->unsaved = NULL;
    return SC_OK;
}

void sc_handover_run(struct sc_handover *handover, struct sc_msg_request *request,
                     const struct sc_sp_origin *origin, uint64_t deadline_ms)
{
    char why[SC_WHY_SIZE];
    if (handover->jobs >= JOBS_MAX) {
        answer(origin, SC_BUSY, "too much that concerns moves is asked for at a time");
        return;
    }
    if (request->op != SC_OP_X_GRANT && !is_introduced(handover, origin)) {
        answer(origin, SC_NOTFOUND,
               "moves are asked for by the coordinator that has granted the slots, on the "
               "connection on which it did so last");
        return;
    }
    struct sc_handover_job *job = sc_calloc(1, sizeof *job);
    job->origin = *origin;
    job->op = request->op;
    job->deadline_ms = deadline_ms;
    if (request->op == SC_OP_X_GRANT) {
        enum sc_status status = announce(handover, request, job, why);
        if (status != SC_OK || job->answered) {
            answer(origin, status, why);
        }
        if (status != SC_OK) {
            job_free(job);
            return;
        }
    } else {
        job->move = request->move;
        keep_ranges(job);
        keep_slices(job);
    }
    append_job(handover, job);
}

void sc_handover_tick(struct sc_handover *handover)
{
    struct sc_handover_job *job = handover->unsaved;
    if (job != NULL && sc_clock_mono_ms() >= handover->retry_ms) {
        handover->unsaved = NULL;
        append_job(handover, job);
    }
}

/* ---- Starting and stopping ---- */

static void handover_free(struct sc_handover *handover)
{
    (void)sem_destroy(&handover->wake);
    (void)sem_destroy(&handover->committed);
    sc_importer_free(handover->importer);
    sc_exporter_free(handover->exporter);
    job_free(handover->unsaved);
    free(handover);
}

enum sc_status sc_handover_start(struct sc_sp_hub *hub, struct sc_bitcask *store,
                                 struct sc_committer *committer, struct sc_membership *membership,
                                 struct sc_handover **out, char *why)
{
    struct sc_handover *handover = sc_calloc(1, sizeof *handover);
    handover->hub = hub;
    handover->store = store;
    handover->committer = committer;
    handover->membership = membership;
    handover->host = (struct sc_move_host){host_lock, host_unlock, host_sync, host_wait, handover};
    handover->importer = sc_importer_alloc(store, &handover->host);
    handover->exporter = sc_exporter_alloc(store, &handover->host);
    (void)sem_init(&handover->wake, 0, 0);
    (void)sem_init(&handover->committed, 0, 0);
    int error = pthread_create(&handover->thread, NULL, run, handover);
    if (error != 0) {
        handover_free(handover);
        return sc_fail(why, SC_INTERNAL, "cannot start a thread: %s", strerror(error));
    }
    *out = handover;
    return SC_OK;
}

void sc_handover_stop(struct sc_handover *handover)
{
    if (handover == NULL) {
        return;
    }
    atomic_store(&handover->stopping, true);
    (void)sem_post(&handover->wake);
    (void)sem_post(&handover->committed);
    (void)pthread_join(handover->thread, NULL);
    sc_sp_hub_lock(handover->hub);
    for (struct sc_handover_job *job = take_job(handover); job != NULL; job = take_job(handover)) {
        if (!job->answered) {
            answer(&job->origin, SC_UNAVAILABLE, "the shard is shutting down");
        }
        job_free(job);
    }
    sc_sp_hub_unlock(handover->hub);
    handover_free(handover);
}
