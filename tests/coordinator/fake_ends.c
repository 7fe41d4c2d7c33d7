#include "tests/coordinator/fake_ends.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/slot.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t tokens;

static void blame(struct fake_end *end, const char *what)
{
    if (end->wrong[0] == '\0') {
        snprintf(end->wrong, sizeof end->wrong, "shard %d: %s", (int)end->shard.shard_id, what);
    }
}

static bool is_source(const struct fake_end *end)
{
    return end->shard.shard_id == 1;
}

/* ---- The source ---- */

static void do_export(struct fake_end *end, const struct sc_msg_move *move, struct sc_buf *out)
{
    end->sealed = false;
    end->shard.exporting = 1;
    end->export_token = ++tokens;
    struct sc_msg_export_reply reply = {
        .token = end->export_token, .mark = sc_slice_str(end->mark), .keys = 1, .bytes = 100};
    (void)move;
    sc_msg_reply_export(out, &reply);
}

/* The first three frames are "all that is there", then come the puts since. A cursor is how many
 * frames of the former were read, and the count of puts up to which the latter were. */
static void do_read(struct fake_end *end, const struct sc_msg_move *move, struct sc_buf *out)
{
    uint8_t cursor[8] = {0};
    uint8_t frame[16];
    if (move->cursor.size == 8) {
        memcpy(cursor, move->cursor.data, 8);
    }
    uint32_t frames = sc_le32_get(cursor);
    uint32_t upto = sc_le32_get(cursor + 4);
    bool more = frames < 3 || upto < end->count;
    uint64_t gap = frames < 2 ? SC_MSG_GAP_UNKNOWN : 0;
    sc_le64_put(frame, end->value);
    sc_le64_put(frame + 8, end->count);
    sc_le32_put(cursor, frames < 3 ? frames + 1 : frames);
    sc_le32_put(cursor + 4, more ? (uint32_t)end->count : upto);
    struct sc_msg_read_reply reply = {sc_slice(cursor, 8), gap, sc_slice(frame, more ? 16 : 0)};
    sc_msg_reply_read(out, &reply);
}

static void do_seal(struct fake_end *end, const struct sc_msg_move *move, struct sc_buf *out)
{
    if (!end->sealed) {
        end->count++; /* the last write of a direct client */
    }
    end->sealed = true;
    end->sealed_until_ms = move->until_ms;
    struct sc_msg_seal_reply reply = {end->count, end->value, end->count};
    sc_msg_reply_seal(out, &reply);
}

/* ---- The target ---- */

static void do_import(struct fake_end *end, struct sc_buf *out)
{
    end->importing = true;
    end->shard.importing = 1;
    end->import_token = ++tokens;
    struct sc_msg_import_reply reply = {end->import_token, sc_slice(end->cursor, end->cursor_size),
                                        sc_slice_str(end->mark)};
    sc_msg_reply_import(out, &reply);
}

static void do_write(struct fake_end *end, const struct sc_msg_move *move, struct sc_buf *out)
{
    const uint8_t *frame = move->frame.data;
    if (move->frame.size == 16 && sc_le64_get(frame + 8) >= end->count) {
        end->value = sc_le64_get(frame);
        end->count = sc_le64_get(frame + 8);
    }
    if (end->mark[0] != '\0' && !sc_slice_equal(sc_slice_str(end->mark), move->mark)) {
        blame(end, "what belongs to another log comes without a drop");
    }
    end->ready = false;
    end->cursor_size = move->cursor.size;
    memcpy(end->cursor, move->cursor.data, end->cursor_size);
    snprintf(end->mark, sizeof end->mark, "%.*s", (int)move->mark.size,
             (const char *)move->mark.data);
    sc_msg_reply_status(out, SC_OK, NULL);
}

static void do_finish(struct fake_end *end, const struct sc_msg_move *move, struct sc_buf *out)
{
    if (move->count != end->count || move->digest != end->value) {
        sc_msg_reply_status(out, SC_CORRUPT, "what has arrived is not what was sent");
        return;
    }
    end->ready = true;
    sc_msg_reply_status(out, SC_OK, NULL);
}

/* A slot that is served is not what is dropped. */
static void do_drop(struct fake_end *end, struct sc_buf *out)
{
    if (!end->importing) {
        sc_msg_reply_status(out, SC_OK, NULL);
        return;
    }
    end->importing = end->ready = false;
    end->shard.importing = 0;
    end->import_token = end->value = end->count = end->cursor_size = 0;
    end->mark[0] = '\0';
    sc_msg_reply_status(out, SC_OK, NULL);
}

/* ---- Grants ---- */

static bool is_given(const struct sc_msg_request *request)
{
    struct sc_mp mp = request->ranges;
    uint32_t count = 0;
    uint32_t slot = sc_slot_of_key(sc_slice_str(FAKE_ENDS_KEY));
    ck_assert(sc_mp_array(&mp, &count));
    for (; count > 0; count--) {
        uint32_t members = 0;
        uint64_t first = 0;
        uint64_t last = 0;
        uint64_t shard = 0;
        ck_assert(sc_mp_array(&mp, &members) && members == 4 && sc_mp_uint(&mp, &first) &&
                  sc_mp_uint(&mp, &last) && sc_mp_uint(&mp, &shard) && sc_mp_skip(&mp, NULL));
        if (first <= slot && slot <= last) {
            return shard == request->shard_id;
        }
    }
    return false;
}

static bool answers_reads(const struct fake_end *end)
{
    return end->owns && !(end->sealed && sc_clock_mono_ms() >= end->sealed_until_ms);
}

static void do_grant(struct fake_end *end, const struct sc_msg_request *request, struct sc_buf *out)
{
    bool given = is_given(request);
    if (given && !end->entitled && !end->ready) {
        blame(end, "it was granted a slot that has not arrived");
    }
    if (given && answers_reads(end->other)) {
        blame(end, "it was granted a slot that the other one serves");
    }
    if (given && request->term != end->shard.term) {
        end->sealed = false;
    }
    if (!given && is_source(end)) {
        end->sealed = false;
        end->export_token = end->shard.exporting = 0;
    }
    if (given && end->importing) {
        end->importing = end->ready = false;
        end->shard.importing = 0;
    }
    end->entitled = end->owns = given;
    end->shard.grants++;
    end->shard.term = request->term;
    end->shard.epoch = request->epoch;
    sc_msg_reply_status(out, SC_OK, NULL);
}

/* ---- Carrying out ---- */

static bool knows(const struct fake_end *end, const struct sc_msg_request *request)
{
    switch (request->op) {
    case SC_OP_X_READ:
    case SC_OP_X_SEAL:
        return request->move.token == end->export_token && end->export_token != 0;
    case SC_OP_X_WRITE:
    case SC_OP_X_FINISH:
        return request->move.token == end->import_token && end->import_token != 0;
    default:
        return true;
    }
}

static void execute(struct fake_end *end, const struct sc_msg_request *request, struct sc_buf *out)
{
    if (!knows(end, request)) {
        sc_msg_reply_status(out, SC_NOTFOUND, "nothing is under way here by this move");
        return;
    }
    switch (request->op) {
    case SC_OP_X_IMPORT:
        do_import(end, out);
        break;
    case SC_OP_X_WRITE:
        do_write(end, &request->move, out);
        break;
    case SC_OP_X_FINISH:
        do_finish(end, &request->move, out);
        break;
    case SC_OP_X_DROP:
        do_drop(end, out);
        break;
    case SC_OP_X_EXPORT:
        do_export(end, &request->move, out);
        break;
    case SC_OP_X_READ:
        do_read(end, &request->move, out);
        break;
    case SC_OP_X_SEAL:
        do_seal(end, &request->move, out);
        break;
    case SC_OP_X_RELEASE:
        end->sealed = false;
        end->export_token = end->shard.exporting = 0;
        sc_msg_reply_status(out, SC_OK, NULL);
        break;
    default:
        do_grant(end, request, out);
        break;
    }
}

/* ---- Harm ---- */

static void keep_late(struct fake_end *end, const struct sc_sp_origin *origin,
                      struct sc_slice bytes, bool reply, uint64_t due_ms)
{
    ck_assert_uint_lt(end->late_count, sizeof end->late / sizeof *end->late);
    struct fake_ends_late *late = &end->late[end->late_count++];
    *late = (struct fake_ends_late){.origin = *origin, .reply = reply, .due_ms = due_ms};
    sc_buf_append_slice(&late->body, bytes);
}

static void forget_late(struct fake_end *end)
{
    for (size_t i = 0; i < end->late_count; i++) {
        sc_sp_drop(&end->late[i].origin);
        sc_buf_fini(&end->late[i].body);
    }
    end->late_count = 0;
}

/* What is not on the disk of a shard. */
static void restart(struct fake_end *end)
{
    forget_late(end);
    end->owns = end->sealed = false;
    end->export_token = end->import_token = 0;
    end->shard.term = 0;
    if (end->new_log) {
        snprintf(end->mark, sizeof end->mark, "anew");
    }
}

static enum fake_ends_harm next_harm(struct fake_end *end, enum sc_op op)
{
    const struct fake_end *source = is_source(end) ? end : end->other;
    if (end->harm == FAKE_ENDS_NO_HARM || end->op != op || end->harmed > 0 ||
        (end->only_sealed && !source->sealed) || end->asked[op] <= end->after) {
        return FAKE_ENDS_NO_HARM;
    }
    end->harmed++;
    return end->harm;
}

static void reply_to(struct fake_end *end, const struct sc_sp_origin *origin,
                     const struct sc_msg_request *request, enum fake_ends_harm harm)
{
    struct sc_buf reply = {0};
    bool before = harm == FAKE_ENDS_LOSE_REQUEST || harm == FAKE_ENDS_RESTART_BEFORE;
    bool after = harm == FAKE_ENDS_LOSE_REPLY || harm == FAKE_ENDS_RESTART_AFTER;
    if (harm == FAKE_ENDS_STATUS) {
        sc_msg_reply_status(&reply, end->status, "a test has it so");
    } else if (harm == FAKE_ENDS_NONSENSE) {
        sc_buf_append(&reply, "\xc1", 1);
    } else if (!before) {
        execute(end, request, &reply);
    }
    if (harm == FAKE_ENDS_RESTART_BEFORE || harm == FAKE_ENDS_RESTART_AFTER) {
        restart(end);
    }
    if (before || after) {
        sc_sp_drop(origin);
        end->break_link(end);
    } else if (harm == FAKE_ENDS_LATE_REPLY) {
        keep_late(end, origin, sc_buf_slice(&reply), true, sc_clock_mono_ms() + FAKE_ENDS_LATE_MS);
    } else {
        sc_sp_reply(origin, sc_buf_slice(&reply));
    }
    sc_buf_fini(&reply);
}

static bool is_of_move(enum sc_op op)
{
    return op == SC_OP_X_IMPORT || op == SC_OP_X_WRITE || op == SC_OP_X_FINISH ||
           op == SC_OP_X_DROP || op == SC_OP_X_EXPORT || op == SC_OP_X_READ || op == SC_OP_X_SEAL ||
           op == SC_OP_X_RELEASE;
}

static bool takes(struct fake_shard *shard, const struct sc_msg_request *request,
                  const struct sc_sp_origin *origin, struct sc_slice body)
{
    struct fake_end *end = (struct fake_end *)shard;
    if (end->away) {
        sc_sp_drop(origin);
        return true;
    }
    if (!is_of_move(request->op) && request->op != SC_OP_X_GRANT) {
        return false;
    }
    pthread_mutex_lock(&mutex);
    end->asked[request->op]++;
    enum fake_ends_harm harm = next_harm(end, request->op);
    if (harm == FAKE_ENDS_LATE) {
        keep_late(end, origin, body, false, sc_clock_mono_ms() + FAKE_ENDS_LATE_MS);
    } else if (is_of_move(request->op) && end->late_count > 0) {
        keep_late(end, origin, body, false, 0); /* one thread does it all, in order */
    } else {
        reply_to(end, origin, request, harm);
    }
    pthread_mutex_unlock(&mutex);
    return true;
}

static void poll_end(struct fake_end *end)
{
    static const struct sc_msg_limits limits = {.value_max = SC_VALUE_MAX_DEFAULT};
    char why[SC_WHY_SIZE];
    sc_sp_hub_lock(end->shard.hub);
    pthread_mutex_lock(&mutex);
    while (end->late_count > 0 && end->late[0].due_ms <= sc_clock_mono_ms()) {
        struct fake_ends_late late = end->late[0];
        end->late_count--;
        memmove(end->late, end->late + 1, end->late_count * sizeof *end->late);
        if (late.reply) {
            sc_sp_reply(&late.origin, sc_buf_slice(&late.body));
        } else {
            struct sc_msg_request request;
            ck_assert_int_eq(sc_msg_parse_request(sc_buf_slice(&late.body), &limits, &request, why),
                             SC_OK);
            reply_to(end, &late.origin, &request, FAKE_ENDS_NO_HARM);
        }
        sc_buf_fini(&late.body);
    }
    pthread_mutex_unlock(&mutex);
    sc_sp_hub_unlock(end->shard.hub);
}

void fake_ends_poll(struct fake_end ends[2])
{
    poll_end(&ends[0]);
    poll_end(&ends[1]);
}

/* ---- Keys ---- */

/* The status of a single-key request; SC_OK: it has been carried out. */
static int judge(struct fake_shard *shard, const struct sc_msg_request *item)
{
    struct fake_end *end = (struct fake_end *)shard;
    int status = SC_OK;
    pthread_mutex_lock(&mutex);
    if (!end->owns) {
        status = SC_MOVED;
    } else if (item->op == SC_OP_PUT && end->sealed) {
        if (!end->may_refuse) {
            blame(end, "a write came though it is sealed");
        }
        status = SC_BUSY;
    } else if (item->op == SC_OP_PUT) {
        struct sc_mp mp = sc_mp(item->value);
        uint64_t number = 0;
        ck_assert(sc_mp_uint(&mp, &number));
        if (number <= end->value) {
            blame(end, "the order of puts has changed");
        }
        end->value = number;
        end->count++;
    } else {
        shard->last_put = end->value;
    }
    pthread_mutex_unlock(&mutex);
    return status;
}

/* ---- Opening ---- */

void fake_ends_open(struct fake_end ends[2], const char *const urls[2], const uint8_t cluster[16])
{
    for (size_t i = 0; i < 2; i++) {
        struct fake_end *end = &ends[i];
        end->other = &ends[1 - i];
        end->shard.shard_id = i + 1;
        end->shard.adopted = true;
        memcpy(end->shard.cluster, cluster, sizeof end->shard.cluster);
        end->shard.takes = takes;
        end->shard.judge = judge;
        end->shard.tells_clock = true;
    }
    ends[0].entitled = true;
    snprintf(ends[0].mark, sizeof ends[0].mark, "here");
    fake_shard_open(&ends[0].shard, urls[0]);
    fake_shard_open(&ends[1].shard, urls[1]);
}

void fake_ends_close(struct fake_end ends[2])
{
    for (size_t i = 0; i < 2; i++) {
        sc_sp_hub_lock(ends[i].shard.hub);
        pthread_mutex_lock(&mutex);
        forget_late(&ends[i]);
        pthread_mutex_unlock(&mutex);
        sc_sp_hub_unlock(ends[i].shard.hub);
        fake_shard_close(&ends[i].shard);
    }
}

void fake_ends_lock(struct fake_end ends[2])
{
    (void)ends;
    pthread_mutex_lock(&mutex);
}

void fake_ends_unlock(struct fake_end ends[2])
{
    (void)ends;
    pthread_mutex_unlock(&mutex);
}
