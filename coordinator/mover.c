#include "coordinator/mover.h"

#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "coordinator/carrier.h"
#include "coordinator/pause.h"
#include "coordinator/strays.h"
#include "coordinator/succession.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define LEASE_MS 2000u /* a sealed source answers reads for so long */
#define RETRY_MS 100u /* after an answer that says so, or none */
#define DROP_AGAIN_MS UINT64_C(1000) /* when the target could not write that it drops a move */
#define RECORD_MS 1000u /* after an entry of the map log that could not be written */
#define ATTEMPT_MS 100u /* between one cut-over that was given up and the next one */
#define SYNCS_MAX 3u /* before an attempt */
#define POLL_MS 1u /* the same for what copies while requests wait */

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
    SUCCEED, /* FENCE and ACTIVATE */
    END,
    START_OVER,
    LET_GO, /* GIVE_UP: first the source ... */
    DROP, /* ... then the target */
};

static const char *const stage_names[] = {
    [IMPORT] = "preparing",     [EXPORT] = "preparing",  [COPY] = "copying",
    [HOLD] = "handing over",    [SEAL] = "handing over", [REST] = "handing over",
    [FINISH] = "handing over",  [UNSEAL] = "copying",    [COMMIT] = "handing over",
    [SUCCEED] = "handing over", [END] = "ending",        [START_OVER] = "starting over",
    [LET_GO] = "giving up",     [DROP] = "giving up",
};

struct sc_mover {
    const struct sc_mover_owner *owner; /* constant, like the next three */
    uint64_t move;
    uint32_t from, to;
    struct sc_slotset slots;

    enum stage stage;
    struct sc_errands *errands;
    bool waits; /* the stage's question has to be asked, at retry_ms */
    uint64_t retry_ms;
    bool paused;
    enum sc_status verdict; /* when it ends; SC_OK: moved */
    char why[SC_WHY_SIZE]; /* of the verdict */
    char trouble[SC_WHY_SIZE];

    struct sc_carrier carrier;
    struct sc_pause pause;
    uint32_t syncs; /* before the next attempt */
    uint64_t attempt_ms; /* no attempt before */
    struct sc_msg_seal_reply sealed;
    uint64_t lease_over_ms; /* from when on the source certainly answers no reads */
    struct sc_succession succession; /* SUCCEED */
    /* Where to go when the source is unsealed: COPY, IMPORT, START_OVER or LET_GO. */
    enum stage after;
    bool left_sealed; /* the connection to the source was lost while it was sealed */
};

static void advance(struct sc_mover *mover);
static void begin(struct sc_mover *mover, uint64_t delay_ms);

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

/* ---- Stages ---- */

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

/* Waits for what is on its way. */
static void stay(struct sc_mover *mover, enum stage stage)
{
    mover->stage = stage;
    mover->waits = false;
}

/* The source is sealed, or may be. */
static bool is_sealed(const struct sc_mover *mover)
{
    return mover->stage == SEAL || mover->stage == REST || mover->stage == FINISH ||
           mover->stage == UNSEAL;
}

/* MOVED is not recorded, nor just being so. */
static bool is_before_commit(const struct sc_mover *mover)
{
    return mover->stage != COMMIT && mover->stage != SUCCEED && mover->stage != END;
}

static void note_trouble(struct sc_mover *mover, const char *why)
{
    if (strcmp(mover->trouble, why) != 0) {
        sc_log_warn("move %" PRIu64 " from shard %" PRIu32 " to shard %" PRIu32 ": %s", mover->move,
                    mover->from, mover->to, why);
        sc_why(mover->trouble, "%s", why);
    }
}

/* Requests go on at the source. */
static void release(struct sc_mover *mover)
{
    sc_pause_end(&mover->pause, sc_backend_lanes(source(mover)));
}

/* ---- Copying ---- */

/* Requests are to be held now. */
static bool wants_cut_over(const struct sc_mover *mover)
{
    /* count and clear must find every slot at just one shard. */
    bool swept = mover->owner->fleet->sweeping > 0;
    return mover->stage == COPY && sc_carrier_is_close(&mover->carrier) && !swept &&
           !mover->paused && sc_clock_mono_ms() >= mover->attempt_ms;
}

/* Everything but the last bytes is on the target's disk before requests have to wait. Writers that
 * are faster than its disk do not put that off for ever. */
static bool prepare_cut_over(struct sc_mover *mover)
{
    struct sc_carrier *carrier = &mover->carrier;
    if (!carrier->syncing && !sc_carrier_is_synced(carrier) && mover->syncs < SYNCS_MAX) {
        mover->syncs++;
        sc_carrier_sync(carrier, target(mover));
    }
    return !carrier->syncing;
}

static bool may_read(const struct sc_mover *mover)
{
    if (!sc_carrier_can_read(&mover->carrier)) {
        return false;
    }
    if (mover->stage == REST) {
        return true;
    }
    return !mover->paused &&
           (!sc_carrier_is_in_bulk(&mover->carrier) || mover->owner->may_copy(mover->owner->arg));
}

static void hold(struct sc_mover *mover)
{
    sc_failpoint("move_before_hold");
    mover->stage = HOLD;
    mover->syncs = 0;
    sc_pause_begin(&mover->pause, sc_backend_lanes(source(mover)), &mover->slots);
}

static void copy(struct sc_mover *mover)
{
    struct sc_carrier *carrier = &mover->carrier;
    sc_carrier_write(carrier, target(mover));
    if (!wants_cut_over(mover) || !prepare_cut_over(mover)) {
        if (may_read(mover)) {
            sc_carrier_read(carrier, source(mover));
        }
    } else if (sc_carrier_is_idle(carrier)) {
        hold(mover);
    }
    if (mover->stage == REST && carrier->read_all && sc_carrier_is_idle(carrier)) {
        sc_pause_lap(&mover->pause, SC_PAUSE_COPIED);
        go(mover, FINISH, 0);
    }
}

/* ---- Attempts that are given up ---- */

/* Requests go on at the source; some time later it is tried again, unless there is another way to
 * go. */
static void go_on_after_attempt(struct sc_mover *mover)
{
    enum stage after = mover->after;
    release(mover);
    sc_pause_give_up(&mover->pause);
    mover->stage = mover->after = COPY;
    sc_carrier_watch_gap(&mover->carrier);
    mover->attempt_ms = sc_clock_mono_ms() + ATTEMPT_MS;
    sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->attempt_ms);
    if (after == IMPORT) {
        begin(mover, 0);
    } else if (after != COPY) {
        go(mover, after, 0);
    }
}

/* The source is to go on as before. */
static void unseal(struct sc_mover *mover)
{
    sc_carrier_rewind(&mover->carrier, 0);
    go(mover, UNSEAL, 0);
}

/* A source that is sealed, or may be, is unsealed before the mover goes anywhere else: what waits
 * would be refused there. False: it is not, or it has gone and has ended what waits. */
static bool unseal_first(struct sc_mover *mover, enum stage after)
{
    if (!is_sealed(mover) || !is_up(source(mover))) {
        return false;
    }
    if (mover->after == COPY || after == LET_GO) {
        mover->after = after;
    }
    if (mover->stage != UNSEAL) {
        unseal(mover);
    }
    return true;
}

/* ---- The commit, and what follows ---- */

static void tell_and_free(struct sc_mover *mover)
{
    enum sc_status verdict = mover->verdict;
    const struct sc_mover_owner *owner = mover->owner;
    uint64_t move = mover->move;
    char text[SC_WHY_SIZE];
    sc_why(text, "%s", mover->why);
    sc_mover_free(mover);
    owner->done(owner->arg, move, verdict, text);
}

static void on_ended(void *arg, enum sc_status status, const char *why)
{
    struct sc_mover *mover = arg;
    if (status == SC_OK) {
        tell_and_free(mover);
    } else { /* until then both shards take part in no other move */
        note_trouble(mover, why);
        go(mover, END, RECORD_MS);
    }
}

static void end(struct sc_mover *mover)
{
    struct sc_change change = {.kind = SC_CHANGE_ENDED, .move = mover->move};
    sc_failpoint("move_before_end");
    stay(mover, END);
    sc_fleet_record(mover->owner->fleet, &change, on_ended, mover);
}

static void log_pause(struct sc_mover *mover)
{
    const uint32_t *us = mover->pause.laps_us;
    if (mover->pause.since_ns == 0) {
        return; /* nobody waited, or an earlier coordinator died of it */
    }
    sc_pause_lap(&mover->pause, SC_PAUSE_GRANTED);
    sc_log_info("move %" PRIu64 ": they waited %" PRIu32 " us for answers on their way, %" PRIu32
                " for the seal, %" PRIu32 " for the rest, %" PRIu32 " for the target, %" PRIu32
                " for the map log, %" PRIu32 " for the grants; attempts %" PRIu64,
                mover->move, us[SC_PAUSE_QUIET], us[SC_PAUSE_SEALED], us[SC_PAUSE_COPIED],
                us[SC_PAUSE_READY], us[SC_PAUSE_RECORDED], us[SC_PAUSE_GRANTED],
                mover->pause.attempts);
}

static void succeed(struct sc_mover *mover)
{
    sc_succession_advance(&mover->succession);
    if (mover->succession.stage == SC_SUCCESSION_DONE) {
        log_pause(mover);
        sc_pause_end_at_target(&mover->pause, sc_backend_lanes(target(mover)));
        end(mover);
    }
}

static void begin_succession(struct sc_mover *mover)
{
    struct sc_fleet *fleet = mover->owner->fleet;
    mover->stage = SUCCEED;
    sc_succession_begin(&mover->succession, fleet, sc_cluster_batch(&fleet->cluster, mover->move),
                        mover->lease_over_ms);
}

/* MOVED is durable: what was held belongs to the target. */
static void moved(struct sc_mover *mover)
{
    sc_failpoint("move_committed");
    sc_pause_lap(&mover->pause, SC_PAUSE_RECORDED);
    if (sc_backend_lanes(source(mover))->holding) {
        sc_lanes_hand_over(sc_backend_lanes(source(mover)), sc_backend_lanes(target(mover)));
    } else if (is_up(target(mover))) {
        sc_lanes_hold(sc_backend_lanes(target(mover)), &mover->slots, true);
    }
    begin_succession(mover);
    sc_backend_grant(source(mover));
}

static void on_moved(void *arg, enum sc_status status, const char *why)
{
    struct sc_mover *mover = arg;
    if (mover->owner->fleet->closing) {
        return; /* the backends are gone; the next start goes on from what the log has */
    }
    if (status == SC_OK) {
        moved(mover);
    } else if (status == SC_UNKNOWN) {
        /* Whose the slots are only the next start finds out. Until then nobody may serve them: the
         * source is sealed, and what is held is not answered with anything but a refusal. */
        note_trouble(mover, why);
        sc_log_error("restart the coordinator: the map log takes nothing more");
        sc_pause_fail(&mover->pause, sc_backend_lanes(source(mover)), why);
        return;
    } else {
        note_trouble(mover, why);
        unseal(mover);
        sc_backend_grant(source(mover)); /* it may have been restarted meanwhile, and waits */
    }
    advance(mover);
}

static void commit(struct sc_mover *mover)
{
    struct sc_change change = {.kind = SC_CHANGE_MOVED, .move = mover->move};
    sc_failpoint("move_before_commit");
    sc_pause_lap(&mover->pause, SC_PAUSE_READY);
    stay(mover, COMMIT);
    sc_fleet_record(mover->owner->fleet, &change, on_moved, mover);
}

/* ---- Giving up ---- */

static bool is_giving_up(const struct sc_mover *mover)
{
    return mover->stage == LET_GO || mover->stage == DROP;
}

/* The source keeps owning. Both ends are asked to forget the move until they say that they have; a
 * shard that is not there is told when it comes back (see strays.h). */
static void come_to_nothing(struct sc_mover *mover, enum sc_status status, const char *why)
{
    mover->verdict = status;
    sc_why(mover->why, "%s", why);
    if (!unseal_first(mover, LET_GO)) {
        sc_carrier_rewind(&mover->carrier, 0);
        go(mover, LET_GO, 0);
    }
}

/* The source is not sealed any more, or away. */
static void go_on_to_drop(struct sc_mover *mover)
{
    release(mover);
    go(mover, DROP, 0);
}

static void let_go(struct sc_mover *mover)
{
    sc_failpoint("move_before_give_up");
    mover->waits = !sc_carrier_release(&mover->carrier, source(mover));
    if (mover->waits) {
        go_on_to_drop(mover);
    }
}

static void drop(struct sc_mover *mover)
{
    sc_failpoint("move_before_drop");
    mover->waits = !sc_carrier_drop(&mover->carrier, target(mover));
    if (mover->waits) {
        end(mover);
    }
}

/* While giving up: an answer that is none is waited for as long as the shard is there. */
static void take_farewell(struct sc_mover *mover, const struct sc_errand_answer *answer)
{
    const struct sc_backend *asked = mover->stage == LET_GO ? source(mover) : target(mover);
    bool lost = answer->verdict == SC_ERRAND_LOST && is_up(asked);
    if (mover->stage == DROP && answer->reply.status == SC_IO && is_up(asked)) {
        /* Its disk may be full; until it has dropped this, it can take nothing else. */
        note_trouble(mover, answer->why);
        go(mover, DROP, DROP_AGAIN_MS);
    } else if (lost || answer->verdict == SC_ERRAND_AGAIN) {
        go(mover, mover->stage, RETRY_MS);
    } else if (mover->stage == LET_GO) {
        go_on_to_drop(mover);
    } else {
        end(mover);
    }
}

void sc_mover_give_up(struct sc_mover *mover)
{
    if (is_before_commit(mover) && !is_giving_up(mover)) {
        come_to_nothing(mover, SC_UNAVAILABLE, "the move was called off");
        advance(mover);
    }
}

/* ---- Answers ---- */

static bool take_import(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    struct sc_msg_import_reply imported;
    if (!sc_msg_read_import(reply, &imported)) {
        return false;
    }
    sc_carrier_begin(&mover->carrier, &imported);
    go(mover, EXPORT, 0);
    return true;
}

static bool take_export(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    struct sc_msg_export_reply exported;
    if (!sc_msg_read_export(reply, &exported)) {
        return false;
    }
    bool unsealed = mover->stage == UNSEAL;
    if (!sc_carrier_exported(&mover->carrier, &exported)) {
        note_trouble(mover, "the log of the source has changed: the copy starts over");
        release(mover);
        go(mover, mover->after == LET_GO ? LET_GO : START_OVER, 0);
        mover->after = COPY;
        return true;
    }
    stay(mover, COPY);
    if (unsealed) {
        go_on_after_attempt(mover);
    }
    return true;
}

static bool take_read(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    uint64_t bytes = 0;
    bool bulk = sc_carrier_is_in_bulk(&mover->carrier);
    if (!sc_carrier_take_read(&mover->carrier, reply, mover->stage == REST,
                              mover->owner->fleet->hub, &bytes)) {
        return false;
    }
    if (bytes > 0) {
        mover->owner->copied(mover->owner->arg, bytes, bulk);
    }
    return true;
}

static bool take_seal(struct sc_mover *mover, struct sc_msg_reply *reply)
{
    if (!sc_msg_read_seal(reply, &mover->sealed)) {
        return false;
    }
    sc_pause_lap(&mover->pause, SC_PAUSE_SEALED);
    stay(mover, REST);
    sc_carrier_begin_rest(&mover->carrier);
    return true;
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
        sc_carrier_take_write(&mover->carrier);
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
    if (op == SC_OP_X_SEAL || op == SC_OP_X_FINISH) {
        unseal(mover);
    } else if (op == SC_OP_X_READ || op == SC_OP_X_WRITE) {
        sc_carrier_rewind(&mover->carrier, mover->stage == REST ? POLL_MS : RETRY_MS);
        sc_sp_hub_set_timer(mover->owner->fleet->hub, mover->carrier.read_ms);
    } else {
        go(mover, mover->stage, RETRY_MS);
    }
}

static void take_answer(struct sc_mover *mover, struct sc_errand_answer *answer)
{
    int status = answer->reply.status;
    if (is_giving_up(mover)) {
        take_farewell(mover, answer);
        return;
    }
    if (answer->op == SC_OP_SYNC) {
        sc_carrier_take_sync(&mover->carrier); /* if it failed, x.finish will, too */
        return;
    }
    if (answer->verdict == SC_ERRAND_GOOD && !take(mover, answer->op, &answer->reply)) {
        sc_why(answer->why, "a shard sent a reply that makes no sense");
        answer->verdict = SC_ERRAND_FATAL;
    }
    switch (answer->verdict) {
    case SC_ERRAND_GOOD:
        if (answer->op != SC_OP_X_DROP) {
            mover->trouble[0] = '\0';
        }
        break;
    case SC_ERRAND_AGAIN:
        if (answer->op != SC_OP_X_SEAL) {
            note_trouble(mover, answer->why);
        }
        repeat(mover, answer->op);
        break;
    case SC_ERRAND_LOST:
        if (mover->stage == UNSEAL && answer->op == SC_OP_X_EXPORT && is_up(source(mover))) {
            go(mover, UNSEAL, RETRY_MS);
        } else {
            begin(mover, RETRY_MS);
        }
        break;
    case SC_ERRAND_OVER:
        note_trouble(mover, answer->why);
        if (!unseal_first(mover, START_OVER)) {
            begin(mover, 0);
            go(mover, START_OVER, 0);
        }
        break;
    case SC_ERRAND_FATAL:
        if (mover->stage == UNSEAL) {
            mover->stage = COPY; /* x.export unseals before anything else */
        }
        come_to_nothing(mover, status == SC_OK ? SC_INTERNAL : (enum sc_status)status, answer->why);
        break;
    }
}

static void on_answer(void *arg, struct sc_errand_answer *answer)
{
    struct sc_mover *mover = arg;
    if (mover->owner->fleet->closing) {
        return;
    }
    if (answer != NULL) {
        take_answer(mover, answer);
    }
    advance(mover);
}

/* ---- Beginning ---- */

/* From the first question on; what was copied counts as far as the target says so. A source that is
 * sealed is unsealed first, since requests wait; one that has gone has ended them. */
static void begin(struct sc_mover *mover, uint64_t delay_ms)
{
    if (unseal_first(mover, IMPORT)) {
        return;
    }
    mover->left_sealed = mover->left_sealed || is_sealed(mover);
    bool granted = sc_mover_may_grant(mover, source(mover));
    sc_carrier_rewind(&mover->carrier, 0);
    sc_carrier_forget_gap(&mover->carrier);
    release(mover);
    go(mover, mover->after == LET_GO ? LET_GO : IMPORT, delay_ms);
    mover->after = COPY;
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
    mover->errands = sc_errands_alloc(on_answer, mover);
    sc_carrier_init(&mover->carrier, mover->errands, batch, keys, bytes);
    if (batch->epoch != 0) {
        /* An earlier coordinator may have sealed the source just before. */
        mover->lease_over_ms = sc_clock_mono_ms() + LEASE_MS + SC_BACKEND_CLOCK_MS;
        begin_succession(mover);
    } else {
        begin(mover, 0);
    }
    advance(mover);
    return mover;
}

void sc_mover_free(struct sc_mover *mover)
{
    if (mover != NULL) {
        sc_errands_free(mover->errands);
        sc_carrier_fini(&mover->carrier);
        free(mover);
    }
}

/* ---- Going on ---- */

/* What an earlier move has left there has to be gone first. */
static void ask_import(struct sc_mover *mover)
{
    const struct sc_strays *strays = mover->owner->fleet->strays;
    if (sc_strays_any(strays, mover->from) || sc_strays_any(strays, mover->to)) {
        go(mover, IMPORT, RETRY_MS);
    } else {
        mover->waits = !sc_carrier_import(&mover->carrier, target(mover));
    }
}

static bool ask_seal(struct sc_mover *mover)
{
    uint64_t until_ms = 0;
    /* A shard that has not told its clock cannot be one of this version. */
    return sc_backend_translate(source(mover), sc_clock_mono_ms() + LEASE_MS, &until_ms,
                                &mover->lease_over_ms) &&
           sc_carrier_seal(&mover->carrier, source(mover), until_ms);
}

/* Asks what there is to be asked, if it is time. */
static void ask_next(struct sc_mover *mover)
{
    struct sc_carrier *carrier = &mover->carrier;
    if (!mover->waits || sc_clock_mono_ms() < mover->retry_ms) {
        return;
    }
    switch (mover->stage) {
    case IMPORT:
        ask_import(mover);
        break;
    case EXPORT:
    case UNSEAL:
        mover->waits = !sc_carrier_export(carrier, source(mover));
        break;
    case SEAL:
        mover->waits = !ask_seal(mover);
        break;
    case FINISH:
        mover->waits = !sc_carrier_finish(carrier, target(mover), &mover->sealed);
        break;
    case START_OVER:
        mover->waits = !sc_carrier_drop(carrier, target(mover));
        break;
    case LET_GO:
        let_go(mover);
        break;
    case DROP:
        drop(mover);
        break;
    case END:
        end(mover);
        break;
    default:
        break;
    }
}

/* Until requests on their way are answered the copy goes on. */
static void wait_for_quiet(struct sc_mover *mover)
{
    struct sc_carrier *carrier = &mover->carrier;
    sc_carrier_write(carrier, target(mover));
    if (!sc_lanes_quiet(sc_backend_lanes(source(mover)))) {
        if (sc_carrier_can_read(carrier)) {
            sc_carrier_read(carrier, source(mover));
        }
    } else if (!carrier->reading) {
        sc_pause_lap(&mover->pause, SC_PAUSE_QUIET);
        go(mover, SEAL, 0);
    }
}

/* While requests wait. */
static void hand_over(struct sc_mover *mover)
{
    if (sc_pause_is_over(&mover->pause)) {
        if (mover->stage == HOLD) {
            go_on_after_attempt(mover);
            return;
        }
        unseal(mover);
    } else if (mover->stage == HOLD) {
        wait_for_quiet(mover);
    } else if (mover->stage == REST) {
        copy(mover);
    } else {
        sc_carrier_write(&mover->carrier, target(mover));
    }
    ask_next(mover);
}

static void advance(struct sc_mover *mover)
{
    switch (mover->stage) {
    case COPY:
        copy(mover);
        break;
    case HOLD:
    case SEAL:
    case REST:
    case FINISH:
        hand_over(mover);
        break;
    case SUCCEED:
        succeed(mover);
        break;
    case COMMIT:
        break;
    default:
        ask_next(mover);
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

/* The source is back, and sealed if it has not been restarted: it has to be unsealed before any
 * request gets there. */
static void unseal_again(struct sc_mover *mover)
{
    mover->left_sealed = false;
    mover->after = mover->after == COPY ? IMPORT : mover->after;
    sc_pause_wait(&mover->pause, sc_backend_lanes(source(mover)), &mover->slots);
    unseal(mover);
}

void sc_mover_on_change(struct sc_mover *mover, struct sc_backend *backend)
{
    bool before = is_before_commit(mover) && !is_giving_up(mover);
    if (backend != source(mover) && backend != target(mover)) {
        return;
    }
    if (before && !sc_backend_up(backend) && mover->stage != IMPORT) {
        begin(mover, RETRY_MS);
    } else if (before && backend == source(mover) && sc_backend_up(backend) &&
               (mover->left_sealed || mover->stage == UNSEAL) &&
               !sc_backend_lanes(backend)->holding) {
        unseal_again(mover);
    }
    advance(mover);
}

bool sc_mover_may_grant(const struct sc_mover *mover, const struct sc_backend *backend)
{
    if (mover->stage == SUCCEED) {
        return sc_succession_may_grant(&mover->succession, backend);
    }
    return backend != source(mover) || (mover->stage != SEAL && mover->stage != REST &&
                                        mover->stage != FINISH && mover->stage != COMMIT);
}

bool sc_mover_is_cutting_over(const struct sc_mover *mover)
{
    return mover->pause.since_ns != 0 || mover->stage == COMMIT || mover->stage == SUCCEED;
}

void sc_mover_figures(const struct sc_mover *mover, struct sc_mover_figures *figures)
{
    *figures = (struct sc_mover_figures){
        .bytes = mover->carrier.bytes,
        .bytes_done = mover->carrier.bytes_done,
        .attempts = mover->pause.attempts,
        .pause_us = mover->pause.last_us,
        .stage = stage_names[mover->stage],
        .trouble = mover->trouble,
    };
}
