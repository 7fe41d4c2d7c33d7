#include "common/msg_move.h"

#include "common/msg.h"

#include <assert.h>

/* ---- Reading requests ---- */

static enum sc_status bad(const struct sc_msg_request *request, char *why, const char *expected)
{
    return sc_fail(why, SC_BADREQUEST, "%s: %s", sc_op_name(request->op), expected);
}

static bool read_range(struct sc_mp *mp, struct sc_msg_range *range)
{
    uint32_t members;
    uint64_t first;
    uint64_t last;
    if (!sc_mp_array(mp, &members) || members != 2 || !sc_mp_uint(mp, &first) ||
        !sc_mp_uint(mp, &last) || first > last || last >= SC_SLOT_COUNT) {
        return false;
    }
    *range = (struct sc_msg_range){(uint32_t)first, (uint32_t)last};
    return true;
}

/* [[first, last]...]: at least one, in ascending order, not overlapping. */
static bool read_ranges(struct sc_mp *mp, struct sc_msg_move *move)
{
    uint32_t next = 0; /* the least that the next range may begin with */
    if (!sc_mp_array(mp, &move->range_count) || move->range_count == 0) {
        return false;
    }
    move->ranges = *mp;
    for (uint32_t i = 0; i < move->range_count; i++) {
        struct sc_msg_range range;
        if (!read_range(mp, &range) || range.first < next) {
            return false;
        }
        next = range.last + 1;
    }
    return true;
}

static bool read_bin(struct sc_mp *mp, struct sc_slice *bin, size_t most)
{
    return sc_mp_bytes(mp, bin) && bin->size <= most;
}

static const char *const expected_ranges = "the ranges must be [[first slot, last slot]...]";

static enum sc_status parse_import(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_move *move = &request->move;
    if (!read_ranges(mp, move)) {
        return bad(request, why, expected_ranges);
    }
    return sc_mp_uint(mp, &move->bytes) && sc_mp_uint(mp, &move->keys)
               ? SC_OK
               : bad(request, why, "bytes and keys must be whole numbers");
}

static enum sc_status parse_export(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_move *move = &request->move;
    if (!read_ranges(mp, move)) {
        return bad(request, why, expected_ranges);
    }
    return read_bin(mp, &move->mark, SC_MSG_MARK_MAX)
               ? SC_OK
               : bad(request, why, "the mark must be a bin of at most 64 bytes");
}

static enum sc_status parse_write(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_move *move = &request->move;
    bool good = read_bin(mp, &move->cursor, SC_MSG_CURSOR_MAX) &&
                read_bin(mp, &move->mark, SC_MSG_MARK_MAX) && sc_mp_bytes(mp, &move->frame);
    return good ? SC_OK
                : bad(request, why,
                      "cursor, mark and frame must be bin, and not longer "
                      "than they can be");
}

static enum sc_status parse_finish(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_move *move = &request->move;
    bool good = sc_mp_uint(mp, &move->count) && sc_mp_uint(mp, &move->digest) &&
                sc_mp_uint(mp, &move->version);
    return good ? SC_OK : bad(request, why, "count, digest and version must be whole numbers");
}

/* What follows the token. */
static enum sc_status parse_rest(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    struct sc_msg_move *move = &request->move;
    switch (request->op) {
    case SC_OP_X_READ:
        return read_bin(mp, &move->cursor, SC_MSG_CURSOR_MAX)
                   ? SC_OK
                   : bad(request, why, "the cursor must be a bin that was given out as one");
    case SC_OP_X_WRITE:
        return parse_write(mp, request, why);
    case SC_OP_X_SEAL:
        return sc_mp_uint(mp, &move->until_ms)
                   ? SC_OK
                   : bad(request, why, "the time must be a whole number (ms)");
    default:
        assert(request->op == SC_OP_X_FINISH);
        return parse_finish(mp, request, why);
    }
}

enum sc_status sc_msg_parse_move(struct sc_mp *mp, struct sc_msg_request *request, char *why)
{
    request->move = (struct sc_msg_move){0};
    if (!sc_mp_uint(mp, &request->move.move)) {
        return bad(request, why, "the move must be a whole number");
    }
    switch (request->op) {
    case SC_OP_X_IMPORT:
        return parse_import(mp, request, why);
    case SC_OP_X_EXPORT:
        return parse_export(mp, request, why);
    case SC_OP_X_DROP:
    case SC_OP_X_RELEASE:
        return SC_OK;
    default:
        return sc_mp_uint(mp, &request->move.token)
                   ? parse_rest(mp, request, why)
                   : bad(request, why, "the token must be a whole number");
    }
}

struct sc_msg_range sc_msg_next_range(struct sc_msg_move *move)
{
    struct sc_msg_range range = {0};
    bool good = read_range(&move->ranges, &range);
    assert(good); /* they were checked, and nobody asks for more than range_count */
    (void)good;
    return range;
}

/* ---- Writing requests ---- */

static void put_head(struct sc_buf *out, enum sc_op op, uint32_t arguments, uint64_t move)
{
    sc_msg_put_op(out, op, arguments);
    sc_mp_put_uint(out, move);
}

static void put_ranges(struct sc_buf *out, const struct sc_msg_range *ranges, size_t count)
{
    assert(count > 0 && count <= SC_SLOT_COUNT);
    sc_mp_put_array(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        sc_mp_put_array(out, 2);
        sc_mp_put_uint(out, ranges[i].first);
        sc_mp_put_uint(out, ranges[i].last);
    }
}

void sc_msg_put_import(struct sc_buf *out, uint64_t move, const struct sc_msg_range *ranges,
                       size_t count, uint64_t bytes, uint64_t keys)
{
    put_head(out, SC_OP_X_IMPORT, 4, move);
    put_ranges(out, ranges, count);
    sc_mp_put_uint(out, bytes);
    sc_mp_put_uint(out, keys);
}

void sc_msg_put_export(struct sc_buf *out, uint64_t move, const struct sc_msg_range *ranges,
                       size_t count, struct sc_slice mark)
{
    put_head(out, SC_OP_X_EXPORT, 3, move);
    put_ranges(out, ranges, count);
    sc_mp_put_bin(out, mark);
}

void sc_msg_put_read(struct sc_buf *out, uint64_t move, uint64_t token, struct sc_slice cursor)
{
    put_head(out, SC_OP_X_READ, 3, move);
    sc_mp_put_uint(out, token);
    sc_mp_put_bin(out, cursor);
}

void sc_msg_put_write(struct sc_buf *out, uint64_t move, uint64_t token, struct sc_slice cursor,
                      struct sc_slice mark, struct sc_slice frame)
{
    put_head(out, SC_OP_X_WRITE, 5, move);
    sc_mp_put_uint(out, token);
    sc_mp_put_bin(out, cursor);
    sc_mp_put_bin(out, mark);
    sc_mp_put_bin(out, frame);
}

void sc_msg_put_seal(struct sc_buf *out, uint64_t move, uint64_t token, uint64_t until_ms)
{
    put_head(out, SC_OP_X_SEAL, 3, move);
    sc_mp_put_uint(out, token);
    sc_mp_put_uint(out, until_ms);
}

void sc_msg_put_finish(struct sc_buf *out, uint64_t move, uint64_t token, uint64_t count,
                       uint64_t digest, uint64_t version)
{
    put_head(out, SC_OP_X_FINISH, 5, move);
    sc_mp_put_uint(out, token);
    sc_mp_put_uint(out, count);
    sc_mp_put_uint(out, digest);
    sc_mp_put_uint(out, version);
}

void sc_msg_put_drop(struct sc_buf *out, uint64_t move)
{
    put_head(out, SC_OP_X_DROP, 1, move);
}

void sc_msg_put_release(struct sc_buf *out, uint64_t move)
{
    put_head(out, SC_OP_X_RELEASE, 1, move);
}

/* ---- Replies ---- */

static void put_ok(struct sc_buf *out, uint32_t results)
{
    sc_mp_put_array(out, 1 + results);
    sc_mp_put_uint(out, SC_OK);
}

/* Whether a reply is fit to be read: ok, with at least so many results. */
static bool has(const struct sc_msg_reply *reply, uint32_t results)
{
    return reply->status == SC_OK && reply->results >= results;
}

void sc_msg_reply_import(struct sc_buf *out, const struct sc_msg_import_reply *reply)
{
    put_ok(out, 3);
    sc_mp_put_uint(out, reply->token);
    sc_mp_put_bin(out, reply->cursor);
    sc_mp_put_bin(out, reply->mark);
}

bool sc_msg_read_import(struct sc_msg_reply *from, struct sc_msg_import_reply *reply)
{
    return has(from, 3) && sc_mp_uint(&from->result, &reply->token) &&
           read_bin(&from->result, &reply->cursor, SC_MSG_CURSOR_MAX) &&
           read_bin(&from->result, &reply->mark, SC_MSG_MARK_MAX);
}

void sc_msg_reply_export(struct sc_buf *out, const struct sc_msg_export_reply *reply)
{
    put_ok(out, 4);
    sc_mp_put_uint(out, reply->token);
    sc_mp_put_bin(out, reply->mark);
    sc_mp_put_uint(out, reply->keys);
    sc_mp_put_uint(out, reply->bytes);
}

bool sc_msg_read_export(struct sc_msg_reply *from, struct sc_msg_export_reply *reply)
{
    return has(from, 4) && sc_mp_uint(&from->result, &reply->token) &&
           read_bin(&from->result, &reply->mark, SC_MSG_MARK_MAX) &&
           sc_mp_uint(&from->result, &reply->keys) && sc_mp_uint(&from->result, &reply->bytes);
}

void sc_msg_reply_read(struct sc_buf *out, const struct sc_msg_read_reply *reply)
{
    put_ok(out, 3);
    sc_mp_put_bin(out, reply->cursor);
    sc_mp_put_uint(out, reply->gap);
    sc_mp_put_bin(out, reply->frame);
}

bool sc_msg_read_read(struct sc_msg_reply *from, struct sc_msg_read_reply *reply)
{
    return has(from, 3) && read_bin(&from->result, &reply->cursor, SC_MSG_CURSOR_MAX) &&
           sc_mp_uint(&from->result, &reply->gap) && sc_mp_bytes(&from->result, &reply->frame);
}

void sc_msg_reply_seal(struct sc_buf *out, const struct sc_msg_seal_reply *reply)
{
    put_ok(out, 3);
    sc_mp_put_uint(out, reply->count);
    sc_mp_put_uint(out, reply->digest);
    sc_mp_put_uint(out, reply->version);
}

bool sc_msg_read_seal(struct sc_msg_reply *from, struct sc_msg_seal_reply *reply)
{
    return has(from, 3) && sc_mp_uint(&from->result, &reply->count) &&
           sc_mp_uint(&from->result, &reply->digest) && sc_mp_uint(&from->result, &reply->version);
}

void sc_msg_put_slots(struct sc_buf *out, const struct sc_msg_slots *slots)
{
    sc_mp_put_array(out, 4);
    sc_mp_put_uint(out, slots->first);
    sc_mp_put_uint(out, slots->last);
    sc_mp_put_uint(out, slots->keys);
    sc_mp_put_uint(out, slots->bytes);
}

bool sc_msg_read_slots(struct sc_msg_reply *from, uint32_t *count)
{
    return has(from, 1) && sc_mp_array(&from->result, count);
}

bool sc_msg_next_slots(struct sc_msg_reply *from, struct sc_msg_slots *slots)
{
    struct sc_mp *mp = &from->result;
    uint32_t members;
    uint64_t first;
    uint64_t last;
    if (!sc_mp_array(mp, &members) || members != 4 || !sc_mp_uint(mp, &first) ||
        !sc_mp_uint(mp, &last) || !sc_mp_uint(mp, &slots->keys) || !sc_mp_uint(mp, &slots->bytes) ||
        first > last || last >= SC_SLOT_COUNT) {
        return false;
    }
    slots->first = (uint32_t)first;
    slots->last = (uint32_t)last;
    return true;
}
