#include "coordinator/mover.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/msg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define CUT_OVER_GAP ((uint64_t)256 << 10) /* bytes of log left: requests are held */
#define STUCK_READS 8u /* reads in a row after which the log that is left has not shrunk */
#define RETRY_MS 100u /* after an answer that says so, or none */
/* After so many attempts that were given up each may take twice as long, so many times: a disk may
 * be too slow for SC_MOVER_PAUSE_MS, and a move has to end some day. */
#define PATIENT_AFTER 8u
#define PATIENT_MOST 4u
#define ATTEMPT_MS 100u /* between one cut-over that was given up and the next one */
#define POLL_MS 1u /* the source has to sync before it gives out more */

enum stage {
    IMPORT,
    EXPORT,
    COPY,
    HOLD,
    SEAL,
    REST,
    FINISH,
    UNSEAL,
    COMMIT,
    FENCE,
    ACTIVATE,
    END,
    START_OVER,
    GIVE_UP,
};

static const char *const stage_names[] = {
    [IMPORT] = "preparing",         [EXPORT] = "preparing",      [COPY] = "copying",
    [HOLD] = "handing over",        [SEAL] = "handing over",     [REST] = "handing over",
    [FINISH] = "handing over",      [UNSEAL] = "copying",        [COMMIT] = "handing over",
    [FENCE] = "handing over",       [ACTIVATE] = "handing over", [END] = "ending",
    [START_OVER] = "starting over", [GIVE_UP] = "giving up",
};

struct sc_mover {
    const struct sc_mover_owner *owner; /* constant, like the next four */
    uint64_t move;
    uint32_t from, to;
    struct sc_slotset slots;
    uint64_t keys, bytes;
    struct sc_msg_range *ranges;
    size_t range_count;

    enum stage stage;
    uint64_t serial; /* answers to what was asked under an earlier one are ignored */
    uint64_t asking; /* calls whose answer has not come, of any serial */
    bool waits; /* the stage's question has to be asked, at retry_ms */
    uint64_t retry_ms;
    bool freed; /* by the owner, but for the calls */
    bool paused, giving_up;
    enum sc_status verdict; /* when it ends; SC_OK: moved */
    char why[SC_WHY_SIZE]; /* of the verdict */
    char trouble[SC_WHY_SIZE];

    uint64_t import_token, export_token;
    struct sc_buf mark; /* of the source */
    struct sc_buf cursor; /* of the next read */
    struct sc_buf written; /* what is before this cursor the target has */
    bool reading, writing, read_all;
    bool has_frame; /* one that waits to be written, and the cursor behind it */
    struct sc_buf frame, frame_cursor;
    struct sc_buf sent_cursor; /* behind the frame that is being written */
    uint64_t gap, least_gap;
    uint32_t reads_since_least;

    uint64_t attempt_ms; /* not before */
    uint64_t held_ns, give_up_ms; /* since when requests wait, and for how long */
    struct sc_msg_seal_reply sealed;
    uint64_t lease_over_ms; /* from when on the source certainly answers no reads */
    bool restart; /* from the first question on, when the source is unsealed */
    bool left_sealed; /* the connection to the source was lost while it was sealed */
    bool dropped; /* what another move had left at the target */
    uint64_t bytes_done, attempts, given_up, pause_us;
};

/* A question on its way. */
struct ask {
    struct sc_backend_call call; /* must be first */
    struct sc_mover *mover;
    uint64_t serial;
    enum sc_op op;
};

static void advance(struct sc_mover *mover);
static void begin(struct sc_mover *mover, uint64_t delay_ms);
static void unseal(struct sc_mover *mover);

static struct sc_backend *source(const struct sc_mover *mover)
{
    return sc_fleet_backend(mover->owner->fleet, mover->from);
}

static struct sc_backend *target(const struct sc_mover *mover)
{
    return sc_fleet_backend(mover->owner->fleet, mover->to);
}

static bool is_up(const struct sc_backend *backend)
{
    return backend != NULL && sc_backend_up(backend);
}

static void free_mover(struct sc_mover *mover)
{
    sc_buf_fini(&mover->mark);
    sc_buf_fini(&mover->cursor);
    sc_buf_fini(&mover->written);
    sc_buf_fini(&mover->sent_cursor);
    sc_buf_fini(&mover->frame);
    sc_buf_fini(&mover->frame_cursor);
    free(mover->ranges);
    free(mover);
}

static void keep(struct sc_buf *to, struct sc_slice from)
{
    to->size = 0;
    sc_buf_append_slice(to, from);
}

/* ---- Waiting ---- */

/* Asks the question of this stage, now or after a while. */
static void go(struct sc_mover *mover, enum stage stage, uint64_t delay_ms)
{
    mover->stage = stage;
    mover->waits = true;
    mover->retry_ms = sc_clock_mono_ms() + delay_ms;
    if (delay_ms > 0) {
        sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->retry_ms);
    }
}

static void note_trouble(struct sc_mover *mover, const char *why)
{
    if (strcmp(mover->trouble, why) != 0) {
        sc_log_warn("move %" PRIu64 " from shard %" PRIu32 " to shard %" PRIu32 ": %s", mover->move,
                    mover->from, mover->to, why);
        sc_why(mover->trouble, "%s", why);
    }
}

/* ---- Holding requests ---- */

static bool is_cutting_over(const struct sc_mover *mover)
{
    return mover->stage == HOLD || mover->stage == SEAL || mover->stage == REST ||
           mover->stage == FINISH || mover->stage == UNSEAL || mover->stage == COMMIT ||
           mover->stage == FENCE || mover->stage == ACTIVATE;
}

/* Requests go on at the source. */
static void release(struct sc_mover *mover)
{
    if (mover->held_ns != 0) {
        mover->pause_us = (sc_clock_mono_ns() - mover->held_ns) / 1000;
        mover->held_ns = 0;
        sc_lanes_release(sc_backend_lanes(source(mover)));
        sc_lanes_flush(sc_backend_lanes(source(mover)));
    }
}

/* ---- Asking ---- */

static void on_answer(struct sc_backend_call *call, enum sc_status status, struct sc_slice body);

static bool ask(struct sc_mover *mover, struct sc_backend *backend, enum sc_op op,
                struct sc_buf *request)
{
    bool up = is_up(backend);
    if (up) {
        struct ask *asked = sc_calloc(1, sizeof *asked);
        *asked = (struct ask){{on_answer}, mover, mover->serial, op};
        mover->asking++;
        sc_backend_call(backend, &asked->call, sc_buf_slice(request));
    }
    sc_buf_fini(request);
    return up;
}

static void ask_import(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_import");
    sc_msg_put_import(&request, mover->move, mover->ranges, mover->range_count, mover->bytes,
                      mover->keys);
    mover->waits = !ask(mover, target(mover), SC_OP_X_IMPORT, &request);
}

static void ask_export(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_export");
    sc_msg_put_export(&request, mover->move, mover->ranges, mover->range_count,
                      sc_buf_slice(&mover->mark));
    mover->waits = !ask(mover, source(mover), SC_OP_X_EXPORT, &request);
}

static void ask_read(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_read");
    sc_msg_put_read(&request, mover->move, mover->export_token, sc_buf_slice(&mover->cursor));
    mover->reading = ask(mover, source(mover), SC_OP_X_READ, &request);
}

static void ask_write(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_write");
    sc_msg_put_write(&request, mover->move, mover->import_token, sc_buf_slice(&mover->frame_cursor),
                     sc_buf_slice(&mover->mark), sc_buf_slice(&mover->frame));
    mover->writing = ask(mover, target(mover), SC_OP_X_WRITE, &request);
    mover->has_frame = !mover->writing;
    keep(&mover->sent_cursor, sc_buf_slice(&mover->frame_cursor));
}

static void ask_seal(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    uint64_t until_ms = 0;
    sc_failpoint("move_before_seal");
    if (!sc_backend_translate(source(mover), sc_clock_mono_ms() + SC_MOVER_LEASE_MS, &until_ms,
                              &mover->lease_over_ms)) {
        return; /* a shard that has not told its clock cannot be one of this version */
    }
    sc_msg_put_seal(&request, mover->move, mover->export_token, until_ms);
    mover->waits = !ask(mover, source(mover), SC_OP_X_SEAL, &request);
}

static void ask_finish(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_failpoint("move_before_finish");
    sc_msg_put_finish(&request, mover->move, mover->import_token, mover->sealed.count,
                      mover->sealed.digest, mover->sealed.version);
    mover->waits = !ask(mover, target(mover), SC_OP_X_FINISH, &request);
}

/* ---- Copying ---- */

/* Forgets what is on its way: it is read again from behind what the target is known to have. */
static void rewind_copy(struct sc_mover *mover)
{
    mover->serial++;
    mover->reading = mover->writing = mover->has_frame = mover->read_all = false;
    keep(&mover->cursor, sc_buf_slice(&mover->written));
}

/* Requests are to be held now, when little is left or it does not get less. */
static bool wants_cut_over(const struct sc_mover *mover)
{
    bool close = mover->gap < CUT_OVER_GAP ||
                 (mover->gap != SC_MSG_GAP_UNKNOWN && mover->reads_since_least >= STUCK_READS);
    /* count and clear must find every slot at just one shard. */
    bool swept = mover->owner->fleet->sweeping > 0;
    return mover->stage == COPY && close && !swept && !mover->paused &&
           sc_clock_mono_ms() >= mover->attempt_ms;
}

static bool may_read(const struct sc_mover *mover)
{
    if (mover->reading || mover->has_frame || mover->read_all ||
        sc_clock_mono_ms() < mover->retry_ms) {
        return false;
    }
    if (mover->stage == REST) {
        return true;
    }
    /* The rate is for the bulk: what was logged since must be had faster than it is written. */
    bool bulk = mover->gap == SC_MSG_GAP_UNKNOWN;
    return !mover->paused && (!bulk || mover->owner->may_copy(mover->owner->arg));
}

static void hold(struct sc_mover *mover)
{
    sc_failpoint("move_before_hold");
    uint64_t patience = mover->given_up / PATIENT_AFTER;
    mover->attempts++;
    mover->held_ns = sc_clock_mono_ns();
    mover->give_up_ms =
        sc_clock_mono_ms() +
        ((uint64_t)SC_MOVER_PAUSE_MS << (patience < PATIENT_MOST ? patience : PATIENT_MOST));
    mover->stage = HOLD;
    sc_lanes_hold(sc_backend_lanes(source(mover)), &mover->slots, false);
    sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->give_up_ms);
}

static void copy(struct sc_mover *mover)
{
    if (mover->has_frame && !mover->writing) {
        ask_write(mover);
    }
    if (!wants_cut_over(mover)) {
        if (may_read(mover)) {
            ask_read(mover);
        }
    } else if (!mover->reading && !mover->writing && !mover->has_frame) {
        hold(mover);
    }
    if (mover->stage == REST && mover->read_all && !mover->writing && !mover->has_frame) {
        go(mover, FINISH, 0);
    }
}

/* ---- Answers ---- */

enum answer { GOOD, AGAIN, LOST, OVER, FATAL };

/* What an answer means for the move. `why`, of SC_WHY_SIZE bytes, gets the reason of all but GOOD.
 */
static enum answer judge(enum sc_status status, struct sc_slice body, struct sc_msg_reply *reply,
                         char *why)
{
    if (status != SC_OK) {
        sc_why(why, "a shard gave no answer");
        return LOST;
    }
    if (!sc_msg_parse_reply(body, reply)) {
        sc_why(why, "a shard sent a reply that makes no sense");
        return FATAL;
    }
    size_t length = reply->why.size < 250 ? reply->why.size : 250;
    sc_why(why, "%.*s", (int)length, length > 0 ? (const char *)reply->why.data : "");
    switch (reply->status) {
    case SC_OK:
        return GOOD;
    case SC_BUSY:
    case SC_UNAVAILABLE:
        return AGAIN;
    case SC_NOTFOUND:
        return LOST;
    case SC_MISMATCH:
        return OVER;
    default:
        return FATAL;
    }
}

static bool take_import(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    struct sc_msg_import_reply imported;
    if (!sc_msg_read_import(reply, &imported)) {
        return false;
    }
    mover->import_token = imported.token;
    keep(&mover->cursor, imported.cursor);
    keep(&mover->written, imported.cursor);
    keep(&mover->mark, imported.mark);
    go(mover, EXPORT, 0);
    return true;
}

/* Requests go on at the source; some time later it is tried again. */
static void go_on_after_attempt(struct sc_mover *mover)
{
    release(mover);
    mover->stage = COPY;
    mover->reads_since_least = 0;
    mover->least_gap = SC_MSG_GAP_UNKNOWN;
    mover->given_up++;
    mover->attempt_ms = sc_clock_mono_ms() + ATTEMPT_MS;
    sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->attempt_ms);
    if (mover->restart) {
        begin(mover, 0);
    }
}

static bool take_export(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    struct sc_msg_export_reply exported;
    if (!sc_msg_read_export(reply, &exported)) {
        return false;
    }
    struct sc_slice mark = sc_buf_slice(&mover->mark);
    bool same =
        exported.mark.size == mark.size && memcmp(exported.mark.data, mark.data, mark.size) == 0;
    bool unsealed = mover->stage == UNSEAL;
    if (mark.size > 0 && !same) {
        note_trouble(mover, "the log of the source has changed: the copy starts over");
        release(mover);
        go(mover, START_OVER, 0);
        return true;
    }
    mover->export_token = exported.token;
    mover->bytes = exported.bytes;
    keep(&mover->mark, exported.mark);
    mover->stage = COPY;
    mover->waits = false;
    if (unsealed) {
        go_on_after_attempt(mover);
    }
    return true;
}

static bool take_read(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    struct sc_msg_read_reply read;
    if (!sc_msg_read_read(reply, &read)) {
        return false;
    }
    mover->reading = false;
    mover->gap = read.gap;
    if (read.gap < mover->least_gap) {
        mover->least_gap = read.gap;
        mover->reads_since_least = 0;
    } else if (read.gap != SC_MSG_GAP_UNKNOWN) {
        mover->reads_since_least++;
    }
    bool stands = read.frame.size == 0 && read.cursor.size == mover->cursor.size &&
                  memcmp(read.cursor.data, mover->cursor.data, read.cursor.size) == 0;
    keep(&mover->cursor, read.cursor);
    if (read.frame.size > 0) {
        keep(&mover->frame, read.frame);
        keep(&mover->frame_cursor, read.cursor);
        mover->has_frame = true;
        mover->bytes_done += read.frame.size;
        mover->owner->copied(mover->owner->arg, read.frame.size);
        return true;
    }
    if (!mover->writing) {
        keep(&mover->written, read.cursor);
    }
    if (mover->stage == REST && read.gap == 0) {
        mover->read_all = true;
    } else if (stands) {
        mover->retry_ms = sc_clock_mono_ms() + POLL_MS;
        sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->retry_ms);
    }
    return true;
}

static bool take_seal(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    if (!sc_msg_read_seal(reply, &mover->sealed)) {
        return false;
    }
    mover->stage = REST;
    mover->waits = false;
    mover->read_all = false;
    return true;
}

/* The attempt is given up: the source is to go on as before. */
static void unseal(struct sc_mover *mover)
{
    rewind_copy(mover);
    go(mover, UNSEAL, 0);
}

static void on_recorded(void *arg, enum sc_status status, const char *why);

static void commit(struct sc_mover *mover)
{
    struct sc_change change = {.kind = SC_CHANGE_MOVED,
                               .move = mover->move,
                               .epoch = mover->owner->fleet->cluster.epoch + 1};
    sc_failpoint("move_before_commit");
    mover->stage = COMMIT;
    mover->waits = false;
    sc_fleet_record(mover->owner->fleet, &change, on_recorded, mover);
}

static bool take(struct sc_mover *mover, enum sc_op op, struct sc_msg_reply *reply)
{
    switch (op) {
    case SC_OP_X_IMPORT:
        return take_import(mover, reply);
    case SC_OP_X_EXPORT:
        return take_export(mover, reply);
    case SC_OP_X_READ:
        return take_read(mover, reply);
    case SC_OP_X_WRITE:
        mover->writing = false;
        keep(&mover->written, sc_buf_slice(&mover->sent_cursor));
        return true;
    case SC_OP_X_SEAL:
        return take_seal(mover, reply);
    case SC_OP_X_FINISH:
        commit(mover);
        return true;
    case SC_OP_X_DROP:
        begin(mover, 0);
        return true;
    default:
        return false;
    }
}

/* What was asked has to be asked again. */
static void repeat(struct sc_mover *mover, enum sc_op op)
{
    uint64_t now_ms = sc_clock_mono_ms();
    if (op == SC_OP_X_SEAL || op == SC_OP_X_FINISH) {
        unseal(mover);
    } else if (op == SC_OP_X_READ || op == SC_OP_X_WRITE) {
        rewind_copy(mover);
        mover->retry_ms = now_ms + (mover->stage == REST ? POLL_MS : RETRY_MS);
        sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->retry_ms);
    } else {
        go(mover, mover->stage, RETRY_MS);
    }
}

/* The source keeps owning. */
static void come_to_nothing(struct sc_mover *mover, enum sc_status status, const char *why)
{
    rewind_copy(mover);
    mover->verdict = status;
    sc_why(mover->why, "%s", why);
    go(mover, GIVE_UP, 0);
}

/* The target refuses since slots arrive there by another move, which nobody carries on. */
static bool drops_another(struct sc_mover *mover)
{
    uint64_t other = sc_backend_hello(target(mover))->importing;
    struct sc_buf request = {0};
    if (mover->stage != IMPORT || other == 0 || other == mover->move || mover->dropped) {
        return false;
    }
    mover->dropped = true;
    sc_msg_put_drop(&request, other);
    return ask(mover, target(mover), SC_OP_X_DROP, &request);
}

static void take_answer(struct sc_mover *mover, enum sc_op op, enum sc_status status,
                        struct sc_slice body)
{
    struct sc_msg_reply reply = {0};
    char why[SC_WHY_SIZE];
    if (op == SC_OP_X_RELEASE) {
        return; /* if it was lost, so was the connection */
    }
    enum answer answer = judge(status, body, &reply, why);
    if (answer == GOOD && !take(mover, op, &reply)) {
        sc_why(why, "a shard sent a reply that makes no sense");
        answer = FATAL;
    }
    switch (answer) {
    case GOOD:
        if (op != SC_OP_X_DROP) {
            mover->trouble[0] = '\0';
        }
        break;
    case AGAIN:
        if (op != SC_OP_X_SEAL) {
            note_trouble(mover, why);
        }
        repeat(mover, op);
        break;
    case LOST:
        if (mover->stage == UNSEAL && op == SC_OP_X_EXPORT && is_up(source(mover))) {
            go(mover, UNSEAL, RETRY_MS);
        } else {
            begin(mover, RETRY_MS);
        }
        break;
    case OVER:
        note_trouble(mover, why);
        begin(mover, 0);
        go(mover, START_OVER, 0);
        break;
    case FATAL:
        if (reply.status != SC_DENIED || !drops_another(mover)) {
            come_to_nothing(
                mover, reply.status == SC_OK ? SC_INTERNAL : (enum sc_status)reply.status, why);
        }
        break;
    }
}

static void on_answer(struct sc_backend_call *call, enum sc_status status, struct sc_slice body)
{
    struct ask *asked = (struct ask *)call;
    struct sc_mover *mover = asked->mover;
    enum sc_op op = asked->op;
    bool closing = mover->freed || mover->owner->fleet->closing;
    bool current = asked->serial == mover->serial && !closing;
    free(asked);
    mover->asking--;
    if (current) {
        take_answer(mover, op, status, body);
        advance(mover);
    } else if (mover->freed && mover->asking == 0) {
        free_mover(mover);
    } else if (!closing) {
        advance(mover);
    }
}

/* ---- Beginning ---- */

static bool is_sealed(const struct sc_mover *mover)
{
    return mover->stage == SEAL || mover->stage == REST || mover->stage == FINISH ||
           mover->stage == UNSEAL;
}

/* From the first question on; what was copied counts as far as the target says so. A source that is
 * sealed is unsealed first, since requests wait; one that has gone has ended them. */
static void begin(struct sc_mover *mover, uint64_t delay_ms)
{
    if (is_sealed(mover) && is_up(source(mover))) {
        mover->restart = true;
        if (mover->stage != UNSEAL) {
            unseal(mover);
        }
        return;
    }
    mover->left_sealed = mover->left_sealed || is_sealed(mover);
    bool granted = mover->stage == IMPORT || sc_mover_may_grant(mover, source(mover));
    mover->restart = false;
    rewind_copy(mover);
    mover->gap = mover->least_gap = SC_MSG_GAP_UNKNOWN;
    mover->reads_since_least = 0;
    release(mover);
    go(mover, IMPORT, delay_ms);
    if (!granted && source(mover) != NULL) {
        sc_backend_grant(source(mover)); /* it may have come back meanwhile, and waits */
    }
}

struct sc_mover *sc_mover_start(const struct sc_mover_owner *owner, uint64_t move, uint64_t keys,
                                uint64_t bytes)
{
    const struct sc_cluster_batch *batch = sc_cluster_batch(&owner->fleet->cluster, move);
    assert(batch != NULL);
    struct sc_mover *mover = sc_calloc(1, sizeof *mover);
    mover->owner = owner;
    mover->move = move;
    mover->from = batch->from;
    mover->to = batch->to;
    mover->slots = batch->slots;
    mover->keys = keys;
    mover->bytes = bytes;
    mover->ranges = sc_calloc(SC_SLOT_COUNT / 2, sizeof *mover->ranges);
    SC_SLOTSET_EACH_RANGE (range, &batch->slots) {
        mover->ranges[mover->range_count++] = range;
    }
    if (batch->epoch != 0) {
        /* An earlier coordinator may have sealed the source just before. */
        mover->lease_over_ms = sc_clock_mono_ms() + SC_MOVER_LEASE_MS + SC_MOVER_PAUSE_MS;
        mover->stage = FENCE;
        sc_sp_hub_set_timer(owner->fleet->hub, mover->lease_over_ms + 1);
    } else {
        begin(mover, 0);
    }
    advance(mover);
    return mover;
}

void sc_mover_free(struct sc_mover *mover)
{
    if (mover != NULL) {
        mover->freed = true;
        if (mover->asking == 0) {
            free_mover(mover);
        }
    }
}

/* ---- Behind the commit ---- */

static bool is_granted(const struct sc_mover *mover, const struct sc_backend *backend)
{
    const struct sc_cluster_batch *batch =
        sc_cluster_batch(&mover->owner->fleet->cluster, mover->move);
    return backend != NULL && batch != NULL && batch->epoch != 0 &&
           sc_backend_epoch(backend) >= batch->epoch;
}

static void end(struct sc_mover *mover)
{
    struct sc_change change = {.kind = SC_CHANGE_ENDED, .move = mover->move};
    sc_failpoint("move_before_end");
    mover->stage = END;
    mover->waits = false;
    sc_fleet_record(mover->owner->fleet, &change, on_recorded, mover);
}

static void fence(struct sc_mover *mover)
{
    bool over = sc_clock_mono_ms() > mover->lease_over_ms;
    if (over || is_granted(mover, source(mover))) {
        sc_failpoint("move_fenced");
        mover->stage = ACTIVATE;
        sc_backend_grant(target(mover));
    }
}

static void activate(struct sc_mover *mover)
{
    if (is_granted(mover, target(mover))) {
        sc_failpoint("move_activated");
        if (mover->held_ns != 0) {
            mover->pause_us = (sc_clock_mono_ns() - mover->held_ns) / 1000;
            mover->held_ns = 0;
        }
        sc_lanes_release(sc_backend_lanes(target(mover)));
        sc_lanes_flush(sc_backend_lanes(target(mover)));
        end(mover);
    }
}

/* MOVED is durable: what was held belongs to the target. */
static void moved(struct sc_mover *mover)
{
    struct sc_fleet *fleet = mover->owner->fleet;
    sc_failpoint("move_committed");
    mover->stage = FENCE;
    if (sc_backend_lanes(source(mover))->holding) {
        sc_lanes_hand_over(sc_backend_lanes(source(mover)), sc_backend_lanes(target(mover)));
    } else if (is_up(target(mover))) {
        sc_lanes_hold(sc_backend_lanes(target(mover)), &mover->slots, true);
    }
    sc_sp_hub_set_timer(fleet->hub, mover->lease_over_ms + 1);
    sc_backend_grant(source(mover));
}

static void tell_and_free(struct sc_mover *mover, enum sc_status status, const char *why)
{
    const struct sc_mover_owner *owner = mover->owner;
    uint64_t move = mover->move;
    char text[SC_WHY_SIZE];
    sc_why(text, "%s", why);
    sc_mover_free(mover);
    owner->done(owner->arg, move, status, text);
}

static void on_recorded(void *arg, enum sc_status status, const char *why)
{
    struct sc_mover *mover = arg;
    if (mover->stage == END) {
        tell_and_free(mover, status == SC_OK ? mover->verdict : status,
                      status == SC_OK ? mover->why : why);
        return;
    }
    if (status == SC_OK) {
        moved(mover);
    } else if (status == SC_UNKNOWN) {
        /* Whose the slots are only the next start finds out. Until then nobody may serve them: the
         * source is sealed, and what is held is not answered with anything but a refusal. */
        note_trouble(mover, why);
        sc_log_error("restart the coordinator: the map log takes nothing more");
        sc_lanes_fail(sc_backend_lanes(source(mover)), why);
        mover->held_ns = 0;
        return;
    } else {
        note_trouble(mover, why);
        unseal(mover);
        sc_backend_grant(source(mover)); /* it may have been restarted meanwhile, and waits */
    }
    advance(mover);
}

/* ---- Giving up ---- */

/* Asks both ends to forget the move, and waits for nothing: a shard that is not there now is told
 * when it is known to carry on with it. */
static void give_up(struct sc_mover *mover)
{
    struct sc_buf drop = {0};
    struct sc_buf let_go = {0};
    sc_failpoint("move_before_give_up");
    sc_msg_put_release(&let_go, mover->move);
    sc_msg_put_drop(&drop, mover->move);
    (void)ask(mover, source(mover), SC_OP_X_RELEASE, &let_go);
    (void)ask(mover, target(mover), SC_OP_X_DROP, &drop);
    mover->serial++; /* whatever they say */
    release(mover);
    end(mover);
}

void sc_mover_give_up(struct sc_mover *mover)
{
    if ((mover->stage < COMMIT || mover->stage == START_OVER) && !mover->giving_up) {
        mover->giving_up = true;
        come_to_nothing(mover, SC_UNAVAILABLE, "the move was called off");
        advance(mover);
    }
}

/* ---- Going on ---- */

static void start_over(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    sc_msg_put_drop(&request, mover->move);
    mover->waits = !ask(mover, target(mover), SC_OP_X_DROP, &request);
}

static bool is_due(const struct sc_mover *mover)
{
    return mover->waits && sc_clock_mono_ms() >= mover->retry_ms;
}

/* Asks what there is to be asked. */
static void ask_next(struct sc_mover *mover)
{
    switch (mover->stage) {
    case IMPORT:
        ask_import(mover);
        break;
    case EXPORT:
    case UNSEAL:
        ask_export(mover);
        break;
    case SEAL:
        ask_seal(mover);
        break;
    case FINISH:
        ask_finish(mover);
        break;
    case START_OVER:
        start_over(mover);
        break;
    case GIVE_UP:
        give_up(mover);
        break;
    default:
        break;
    }
}

static void advance(struct sc_mover *mover)
{
    bool in_time = sc_clock_mono_ms() < mover->give_up_ms;
    switch (mover->stage) {
    case COPY:
        copy(mover);
        break;
    case HOLD:
    case SEAL:
    case REST:
    case FINISH:
        if (!in_time && mover->stage == HOLD) {
            go_on_after_attempt(mover);
        } else if (!in_time) {
            unseal(mover);
            ask_next(mover);
        } else if (mover->stage == HOLD && sc_lanes_quiet(sc_backend_lanes(source(mover)))) {
            go(mover, SEAL, 0);
            ask_next(mover);
        } else if (mover->stage == REST) {
            copy(mover);
            if (mover->stage == FINISH && is_due(mover)) {
                ask_next(mover);
            }
        } else if (is_due(mover)) {
            ask_next(mover);
        }
        break;
    case FENCE:
        fence(mover);
        if (mover->stage != ACTIVATE) {
            break;
        }
        activate(mover);
        break;
    case ACTIVATE:
        activate(mover);
        break;
    case COMMIT:
    case END:
        break;
    default:
        if (is_due(mover)) {
            ask_next(mover);
        }
        break;
    }
}

void sc_mover_poke(struct sc_mover *mover)
{
    advance(mover);
}

void sc_mover_pause(struct sc_mover *mover, bool paused)
{
    mover->paused = paused;
    advance(mover);
}

/* The source is back, and sealed if it has not been restarted: before any request it is told to let
 * go. */
static void unseal_again(struct sc_mover *mover)
{
    struct sc_buf request = {0};
    mover->left_sealed = false;
    sc_msg_put_release(&request, mover->move);
    (void)ask(mover, source(mover), SC_OP_X_RELEASE, &request);
}

void sc_mover_on_change(struct sc_mover *mover, struct sc_backend *backend)
{
    bool before = mover->stage != COMMIT && mover->stage != FENCE && mover->stage != ACTIVATE &&
                  mover->stage != END && mover->stage != GIVE_UP;
    bool ours = backend == source(mover) || backend == target(mover);
    if (backend == source(mover) && mover->left_sealed && sc_backend_up(backend)) {
        unseal_again(mover);
    }
    if (ours && before && !sc_backend_up(backend) && mover->stage != IMPORT) {
        begin(mover, RETRY_MS);
    }
    if (ours) {
        advance(mover);
    }
}

bool sc_mover_may_grant(const struct sc_mover *mover, const struct sc_backend *backend)
{
    if (backend == source(mover)) {
        return mover->stage != SEAL && mover->stage != REST && mover->stage != FINISH &&
               mover->stage != COMMIT;
    }
    return backend != target(mover) || mover->stage != FENCE;
}

bool sc_mover_is_cutting_over(const struct sc_mover *mover)
{
    return is_cutting_over(mover);
}

void sc_mover_figures(const struct sc_mover *mover, struct sc_mover_figures *figures)
{
    *figures = (struct sc_mover_figures){
        .bytes = mover->bytes,
        .bytes_done = mover->bytes_done,
        .attempts = mover->attempts,
        .pause_us = mover->pause_us,
        .stage = stage_names[mover->stage],
        .trouble = mover->trouble,
    };
}
